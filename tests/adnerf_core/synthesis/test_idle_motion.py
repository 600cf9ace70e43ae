"""Motion besides the lips: the footage forwards and backwards, or a still pose with sway and blinks."""

from itertools import islice

import pytest
import torch

from adnerf_core.cameras.view_control import EASE_DEG, canonical_frame, head_angles, pivot_places
from adnerf_core.config import RenderOptions
from adnerf_core.synthesis.idle_motion import (
    BLINK_OPENNESS,
    blinks,
    idle,
    motion_frames,
    ping_pong,
    replay_track,
    sway,
    without_last_blink,
)
from adnerf_core.synthesis.subject import load_subject


@pytest.fixture
def subject(toy_run):
    return load_subject(toy_run)


def first(count, stream):
    return torch.stack(list(islice(stream, count)))


def test_the_track_plays_back_and_forth(subject):
    assert [ping_pong(k, 4) for k in range(10)] == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert [ping_pong(k, 1) for k in range(3)] == [0, 0, 0]
    last = len(subject.poses) - 1
    frames = list(islice(replay_track(subject), last + 2))
    assert torch.equal(frames[last].pose, subject.poses[last])
    assert torch.equal(frames[last + 1].pose, subject.poses[last - 1])


def test_blinks_are_rare_complete_and_depend_on_the_seed():
    usual = torch.tensor([0.6, 0.5, 0.1, -0.2, 0.3])
    eyes = first(1500, blinks(usual, 3))
    shut = (eyes[:, 0] < -0.9).int()
    assert 8 <= int((shut.diff() > 0).sum()) <= 35  # a minute's worth
    assert int((eyes[:, 0] != usual[0]).sum()) >= 8 * (len(BLINK_OPENNESS) - 1)
    assert eyes[:, 0].max() == usual[0] and (eyes[:, 2:] == usual[2:]).all()
    assert ((eyes[:, 1] < -0.9).int() == shut).all() and eyes[:, 1].max() == usual[1]
    assert torch.equal(eyes, first(1500, blinks(usual, 3))) and not torch.equal(eyes, first(1500, blinks(usual, 4)))


def test_the_sway_is_slow_and_small():
    waves = first(5000, sway(1))
    assert 0.5 < float(waves.std()) < 1.5 and float(waves.abs().max()) < 3
    assert float(waves.diff(dim=0).abs().max()) < 0.3
    correlation = torch.corrcoef(waves.T)
    assert (correlation - torch.eye(3)).abs().max() < 0.5


def test_a_still_pose_sways_around_the_most_usual_one(subject):
    frames = list(islice(idle(subject, 0), 200))
    angles = head_angles(torch.stack([frame.pose for frame in frames]))
    footage = head_angles(subject.poses)
    assert (angles.std(0) < 0.6 * footage.std(0).clamp(min=0.05)).all() and (angles.std(0) > 0)[:2].all()
    assert all(torch.equal(frame.torso, frames[0].torso) for frame in frames)


@pytest.mark.parametrize("pose", ["track", "still"])
@pytest.mark.parametrize("count", [8, 50, 333])
def test_a_loop_ends_as_it_began(subject, pose, count):
    frames = list(islice(motion_frames(subject, RenderOptions(pose=pose), count), count))
    assert len(frames) == count
    for first, last in zip(frames[0], frames[-1], strict=True):
        assert torch.allclose(first, last, atol=1e-5)
    if count > 300:
        assert len({tuple(frame.upper.tolist()) for frame in frames}) > 3, "the eyes blink"


def test_a_blink_that_lasts_to_the_end_is_left_out():
    usual, shut = torch.tensor([0.6, 0.1]), torch.tensor([-1.0, 0.1])
    assert without_last_blink([usual, shut, usual, shut, shut]) == [usual, shut, usual, usual, usual]


def scaled_track(subject, motion):
    frames = islice(motion_frames(subject, RenderOptions(motion=motion)), len(subject.poses))
    return [torch.stack(values) for values in zip(*frames, strict=True)]


def test_without_motion_the_head_is_still_and_the_eyes_blink(subject):
    poses, torso, upper = scaled_track(subject, 0.0)
    assert torch.allclose(poses, subject.poses[canonical_frame(subject.poses)].expand_as(poses), atol=1e-4)
    assert (torso == torso[0]).all() and torch.equal(upper, subject.upper)


@pytest.mark.parametrize("motion", [0.5, 1.0, 1.5])
def test_motion_is_scaled_about_the_most_usual_pose_within_the_limits(subject, motion):
    poses, _, _ = scaled_track(subject, motion)
    usual = canonical_frame(subject.poses)
    for measure, share in ((head_angles, 0.05), (pivot_places, 0.15)):
        filmed = measure(subject.poses) - measure(subject.poses)[usual]
        spread = (measure(poses) - measure(subject.poses)[usual]).std(0)
        moving = filmed.std(0) > 0.01 * filmed.std(0).max()
        assert (spread[moving] / filmed.std(0)[moving] / motion - 1).abs().max() < max(share, 0.35 * (motion > 1))
    limits = torch.tensor([subject.view_limits.yaw_deg, subject.view_limits.pitch_deg, subject.view_limits.roll_deg])
    turned = head_angles(poses) - head_angles(subject.poses)[usual]
    assert (turned > limits[:, 0] - EASE_DEG).all() and (turned < limits[:, 1] + EASE_DEG).all()
    assert torch.linalg.det(poses[:, :3, :3]).sub(1).abs().max() < 1e-4
