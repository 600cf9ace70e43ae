"""Motion besides the lips: the footage forwards and backwards, or a still pose with sway and blinks."""

from itertools import islice

import pytest
import torch

from adnerf_core.cameras.view_control import head_angles
from adnerf_core.synthesis.idle_motion import BLINK_OPENNESS, blinks, idle, ping_pong, replay_track, sway
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
