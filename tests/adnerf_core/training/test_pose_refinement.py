"""Pose refinement: it finds poses and exposures again, and leaves outliers out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from adnerf_core.cameras.cameras import project
from adnerf_core.data.ray_batches import RayBatchSampler
from adnerf_core.data.training_frames import MOUTH_BOX, TrainingFrames
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training import pose_refinement as refining
from adnerf_core.training.held_out_alignment import align_held_out
from adnerf_core.training.pose_refinement import AlignmentFrames, pixel_probabilities, refine_poses
from adnerf_core.training.preview import Previewer
from adnerf_core.training.torso_refinement import torso_pixel_probabilities
from adnerf_core.training.track_refinement import TrackRefinement, apply_pose_delta
from tests.adnerf_core.toy import HELD_OUT_FROM

WRONG = torch.tensor([0.06, -0.08, 0.0, 0.1, 0.08, 0.0])
"""An error of the track: 6 degrees and a tenth of a head unit, which is two pixels of the toy."""


@pytest.fixture(scope="module", autouse=True)
def fewer_rays(toy_run):
    """RAYS is meant for pictures of 128 to 512 px; the toy has 48."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(refining, "RAYS", 128)
        yield


@pytest.fixture(scope="module")
def portrait(toy_run):
    return load_subject(toy_run).model


@pytest.fixture
def frames(toy_dataset):
    track = toy_dataset.track()
    codes = LipPca.fit(track.canonical_landmarks[:HELD_OUT_FROM], 6).encode(track.canonical_landmarks)
    return TrainingFrames(toy_dataset, 48, codes, "cpu")


def alignment_of(portrait, frames, images=None):
    condition = portrait.condition(frames.lip_codes, frames.upper_face)
    images = frames.images if images is None else images
    indices, mouths = torch.arange(len(images)), frames.boxes[:, MOUTH_BOX]
    return AlignmentFrames(indices, images, frames.masks, mouths, condition, frames.background / 255)


def refined(rounds, portrait, alignment, poses):
    refinement, generator = TrackRefinement.identity(len(poses), "cpu"), torch.Generator().manual_seed(1)
    for _ in range(rounds):
        refinement = refine_poses(portrait, alignment, poses, refinement, generator)
    return refinement


def distance(toy_dataset, poses, truth):
    """Mean distance, px, of the tip of the nose, the eyes and the chin as seen from two sets of poses."""
    points = torch.tensor([[0.0, -0.3, 0.2], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0], [0.0, -1.1, 0.0]])
    seen = [torch.stack([project(toy_dataset.camera, p, points) for p in some]) for some in (poses, truth)]
    return torch.linalg.norm(seen[0] - seen[1], dim=-1).mean()


def test_rays_are_drawn_on_the_head_and_its_outline_but_not_on_the_mouth(frames):
    probabilities = pixel_probabilities(frames.masks, frames.boxes[:, MOUTH_BOX])
    far = (frames.masks[..., 1] > 128) & (frames.masks[..., 0] == 0)
    top, left, bottom, right = frames.boxes[0, MOUTH_BOX].round().int().tolist()
    on_head = probabilities[frames.masks[..., 0] > 242].sum()
    assert on_head > 0.8 * probabilities.sum() and probabilities[far].sum() == 0
    assert probabilities[0, top + 1 : bottom - 1, left + 1 : right - 1].sum() == 0
    nobody = pixel_probabilities(torch.zeros_like(frames.masks[:1]), frames.boxes[:1, MOUTH_BOX])
    assert nobody.min() == nobody.max() > 0


def test_wrong_poses_are_corrected(portrait, frames, toy_dataset):
    alignment = alignment_of(portrait, frames)
    wrong = apply_pose_delta(frames.poses, WRONG.expand(len(frames.poses), 6))
    # The portrait was trained on refined poses, which differ a little from the toy's.
    best = apply_pose_delta(frames.poses, refined(5, portrait, alignment, frames.poses).pose_delta)
    corrected = apply_pose_delta(wrong, refined(5, portrait, alignment, wrong).pose_delta)
    assert distance(toy_dataset, corrected, best) < 0.4 * distance(toy_dataset, wrong, best)


def test_a_change_of_light_is_measured_as_exposure(portrait, frames):
    images = frames.images.clone()
    images[20:40] = (images[20:40].float() * 0.7).byte()
    refinement = refined(3, portrait, alignment_of(portrait, frames, images), frames.poses)
    assert torch.allclose(refinement.exposure[24:36].mean(), torch.tensor(0.7), atol=0.06)
    assert torch.allclose(refinement.exposure[:16].mean(), torch.tensor(1.0), atol=0.06)
    assert len(refinement.inliers()) == len(frames.poses)


def test_outliers_are_left_out_and_do_not_change_their_neighbours(portrait, frames):
    images = frames.images.clone()
    outliers = [10, 30, 31]
    images[outliers] = 255 - images[outliers]
    refinement = refined(2, portrait, alignment_of(portrait, frames, images), frames.poses)
    without = refined(2, portrait, alignment_of(portrait, frames), frames.poses)
    assert set(range(len(frames.poses))) - set(refinement.inliers().tolist()) == set(outliers)
    assert (refinement.pose_delta - without.pose_delta)[[9, 11, 29, 32], :5].abs().max() < 0.03
    frames.set_refinement(frames.poses, refinement.exposure, refinement.inliers())
    sampler = RayBatchSampler(frames, rays=64, frames_per_step=4, seed=0)
    drawn = torch.cat([sampler.head_batch(step).frame_numbers for step in range(200)])
    assert not set(drawn.tolist()) & set(outliers)


def test_held_out_poses_are_aligned_and_others_are_kept(toy_dataset, portrait):
    track = toy_dataset.track()
    frames = np.arange(HELD_OUT_FROM, len(track.pose))
    codes = LipPca.fit(track.canonical_landmarks[:HELD_OUT_FROM], 6).encode(track.canonical_landmarks)
    pose = track.pose.copy()
    pose[frames] = apply_pose_delta(torch.from_numpy(pose[frames]).float(), WRONG.expand(len(frames), 6)).numpy()
    spoilt = replace(track, pose=pose)
    heard = torch.from_numpy(codes[frames]).float()
    aligned = align_held_out(portrait, toy_dataset, spoilt, frames, heard)

    def error(some):
        """Mean squared difference between the head, rendered from the poses of a track, and the footage."""
        painter = Previewer(portrait, toy_dataset, some, codes)
        heads = [toy_dataset.mask(k, 48)[..., :1] > 242 for k in map(int, frames)]
        pairs = [(painter.frame(k).astype(float), toy_dataset.picture(k, 48)) for k in map(int, frames)]
        return np.mean([((a - b) ** 2 * head).sum() / head.sum() for (a, b), head in zip(pairs, heads, strict=True)])

    assert error(aligned) < 0.7 * error(spoilt)
    assert np.array_equal(aligned.pose[:HELD_OUT_FROM], spoilt.pose[:HELD_OUT_FROM])


def test_the_torso_is_refined_away_from_the_head(frames):
    probability = torso_pixel_probabilities(frames.masks)
    assert torch.allclose(probability.sum((1, 2)), torch.ones(len(frames.masks)), atol=1e-4)
    assert (probability[frames.masks[..., 0] > 127] == 0).all()
