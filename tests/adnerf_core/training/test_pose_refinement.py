"""The track, refined by what the portrait shows: poses, light, and frames that do not belong."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adnerf_core.cameras.cameras import project
from adnerf_core.data.ray_batches import TrainingFrames
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training import pose_refinement as refining
from adnerf_core.training.pose_refinement import (
    AlignmentFrames,
    TrackRefinement,
    align_held_out,
    apply_pose_delta,
    pixel_probabilities,
    refine_poses,
    refine_track,
    smooth_poses,
)
from adnerf_core.training.preview import Previewer
from tests.adnerf_core.toy import HELD_OUT_FROM

WRONG = torch.tensor([0.06, -0.08, 0.0, 0.1, 0.08, 0.0])
"""What the track is spoilt by: 6 degrees and a tenth of a head unit, which is two pixels of the toy."""


@pytest.fixture(scope="module", autouse=True)
def fewer_rays(toy_run):
    """RAYS is meant for pictures of 128 to 512 px; the toy has 48."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refining, "RAYS", 128)
        yield


@pytest.fixture(scope="module")
def portrait(toy_run):
    return load_subject(toy_run).portrait


@pytest.fixture
def footage(toy_dataset):
    track = toy_dataset.track()
    codes = LipPca.fit(track.canonical_landmarks[:HELD_OUT_FROM], 6).encode(track.canonical_landmarks)
    return TrainingFrames(toy_dataset, 48, codes, "cpu")


def looks_of(portrait, footage, pictures=None):
    condition = portrait.condition(footage.lips, footage.upper)
    pictures = footage.pictures if pictures is None else pictures
    every = torch.arange(len(pictures))
    return AlignmentFrames(every, pictures, footage.masks, footage.boxes[:, 1], condition, footage.plate / 255)


def after(rounds, portrait, looks, poses):
    fit, generator = TrackRefinement.none(len(poses), "cpu"), torch.Generator().manual_seed(1)
    for _ in range(rounds):
        fit = refine_poses(portrait, looks, poses, fit, generator)
    return fit


def distance(toy_dataset, poses, truth):
    """Mean distance, px, of the tip of the nose, the eyes and the chin as seen from two sets of poses."""
    points = torch.tensor([[0.0, -0.3, 0.2], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0], [0.0, -1.1, 0.0]])
    seen = [torch.stack([project(toy_dataset.camera, p, points) for p in some]) for some in (poses, truth)]
    return torch.linalg.norm(seen[0] - seen[1], dim=-1).mean()


def test_moved_turns_about_the_heads_origin_then_shifts():
    pose = torch.eye(4)
    pose[2, 3] = 10.0
    turned = apply_pose_delta(pose, torch.tensor([0.0, torch.pi / 2, 0.0, 0.0, 0.0, 1.0]))
    assert torch.allclose(turned[:3, 3], torch.tensor([10.0, 0.0, 1.0]), atol=1e-5)
    assert torch.allclose(turned[:3, :3] @ turned[:3, :3].T, torch.eye(3), atol=1e-5)
    assert torch.equal(apply_pose_delta(pose, torch.zeros(6)), pose)


def test_steady_poses_keep_the_motion_and_lose_the_trembling():
    times = torch.linspace(0, 3, 75)
    slow = torch.zeros(75, 6)
    slow[:, 1], slow[:, 3] = 0.3 * times.sin(), 0.1 * times
    noise = 0.01 * torch.randn(75, 6, generator=torch.Generator().manual_seed(0))
    start = torch.eye(4).expand(75, 4, 4)
    true, shaken = apply_pose_delta(start, slow), apply_pose_delta(start, slow + noise)
    calm = smooth_poses(shaken)
    assert (smooth_poses(true) - true)[3:-3].abs().max() < 1e-3
    assert (calm - true)[:, :3].square().mean() < 0.75 * (shaken - true)[:, :3].square().mean()
    turns = calm[:, :3, :3]
    assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(3).expand(75, 3, 3), atol=1e-5)
    assert torch.equal(calm[:, 3], start[:, 3])


def test_rays_are_cast_at_the_head_and_its_outline_but_not_at_the_mouth(footage):
    where = pixel_probabilities(footage.masks, footage.boxes[:, 1])
    far = (footage.masks[..., 1] > 128) & (footage.masks[..., 0] == 0)
    top, left, bottom, right = footage.boxes[0, 1].round().int().tolist()
    assert where[footage.masks[..., 0] > 242].sum() > 0.8 * where.sum() and where[far].sum() == 0
    assert where[0, top + 1 : bottom - 1, left + 1 : right - 1].sum() == 0


def test_spoilt_poses_are_found_again(portrait, footage, toy_dataset):
    looks = looks_of(portrait, footage)
    spoilt = apply_pose_delta(footage.poses, WRONG.expand(len(footage.poses), 6))
    # The portrait was trained on a track of its own, which lies a little beside the toy's.
    own = apply_pose_delta(footage.poses, after(5, portrait, looks, footage.poses).change)
    found = apply_pose_delta(spoilt, after(5, portrait, looks, spoilt).change)
    assert distance(toy_dataset, found, own) < 0.4 * distance(toy_dataset, spoilt, own)


def test_a_change_of_light_is_told_from_the_face(portrait, footage):
    pictures = footage.pictures.clone()
    pictures[20:40] = (pictures[20:40].float() * 0.7).byte()
    fit = after(3, portrait, looks_of(portrait, footage, pictures), footage.poses)
    assert torch.allclose(fit.exposure[24:36].mean(), torch.tensor(0.7), atol=0.06)
    assert torch.allclose(fit.exposure[:16].mean(), torch.tensor(1.0), atol=0.06)
    assert len(fit.trusted()) == len(footage.poses)


def test_strange_frames_are_left_out_and_do_not_spoil_their_neighbours(portrait, footage):
    pictures = footage.pictures.clone()
    strange = [10, 30, 31]
    pictures[strange] = 255 - pictures[strange]
    fit = after(2, portrait, looks_of(portrait, footage, pictures), footage.poses)
    alone = after(2, portrait, looks_of(portrait, footage), footage.poses)
    assert set(range(len(footage.poses))) - set(fit.trusted().tolist()) == set(strange)
    assert (fit.change - alone.change)[[9, 11, 29, 32], :5].abs().max() < 0.03
    footage.adopt(footage.poses, fit.exposure, fit.trusted())
    drawn = torch.cat([footage.sample_rays(0, step, 64, 4, "head").numbers for step in range(200)])
    assert not set(drawn.tolist()) & set(strange)


def test_held_out_poses_are_aligned_and_others_left(toy_dataset, portrait):
    track = toy_dataset.track()
    frames = np.arange(HELD_OUT_FROM, len(track.pose))
    codes = LipPca.fit(track.canonical_landmarks[:HELD_OUT_FROM], 6).encode(track.canonical_landmarks)
    pose = track.pose.copy()
    pose[frames] = apply_pose_delta(torch.from_numpy(pose[frames]).float(), WRONG.expand(len(frames), 6)).numpy()
    spoilt = replace(track, pose=pose)
    heard = torch.from_numpy(codes[frames]).float()
    aligned = align_held_out(portrait, toy_dataset, spoilt, frames, heard)

    def error(some):
        """Mean squared difference of the head from the footage, the portrait seen from the poses of a track."""
        painter = Previewer(portrait, toy_dataset, some, codes)
        heads = [toy_dataset.mask(k, 48)[..., :1] > 242 for k in map(int, frames)]
        pairs = [(painter.frame(k).astype(float), toy_dataset.picture(k, 48)) for k in map(int, frames)]
        return np.mean([((a - b) ** 2 * head).sum() / head.sum() for (a, b), head in zip(pairs, heads, strict=True)])

    assert error(aligned) < 0.7 * error(spoilt)
    assert np.array_equal(aligned.pose[:HELD_OUT_FROM], spoilt.pose[:HELD_OUT_FROM])


def test_corrections_lie_between_where_a_frame_has_none(toy_dataset):
    track = toy_dataset.track()
    change = np.zeros((2, 6), np.float32)
    change[1, 3] = 0.2
    moved_track = refine_track(track, np.array([0, 10]), change)
    shift = moved_track.pose[:, 0, 3] - track.pose[:, 0, 3]
    assert np.allclose(shift[[0, 5, 10, 20]], [0, 0.1, 0.2, 0.2], atol=1e-5)
