"""The footage is played without jumps, in trusted frames alone, and turned round where the head rests."""

from itertools import islice

import numpy as np
import pytest
import torch

from adnerf_core.errors import FullFrameUnavailable
from adnerf_core.synthesis.play_order import (
    STILL_FRAMES,
    head_speed,
    loop_order,
    play_order,
    trusted_stretches,
    turning_points,
)
from adnerf_core.synthesis.playback import PlayableFrames

FRAMES = 700
RESTS = range(20, FRAMES, 40)


def swaying_poses(frames: int = FRAMES, calm: range = range(0)) -> torch.Tensor:
    """Poses of a head that sways with a period of 80 frames, at rest at RESTS; within `calm` it sways a tenth as far."""
    times = np.arange(frames)
    wide = np.where(np.isin(times, calm), 0.1, 1.0)
    yaw = torch.from_numpy(0.2 * wide * np.sin(2 * np.pi * times / 80))
    poses = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    poses[:, 0, 0] = poses[:, 2, 2] = yaw.cos()
    poses[:, 0, 2], poses[:, 2, 0] = yaw.sin(), -yaw.sin()
    poses[:, :3, 3] = 6 * poses[:, :3, 2]
    return poses.float()


def trusted_except(*gaps: range, frames: int = FRAMES) -> torch.Tensor:
    trusted = torch.ones(frames, dtype=torch.bool)
    for gap in gaps:
        trusted[list(gap)] = False
    return trusted


def turns_of(order: list[int]) -> list[int]:
    steps = np.diff(order)
    return [order[k + 1] for k in np.flatnonzero(steps[1:] != steps[:-1])]


@pytest.mark.parametrize("pose", ["track", "still"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frames_are_neighbours_and_trusted_and_turns_are_at_rest(pose, seed):
    trusted = trusted_except(range(118, 122), range(440, 441), range(680, 700))
    order = list(islice(play_order(trusted, swaying_poses(), pose, seed), 3000))
    assert np.all(np.abs(np.diff(order)) == 1)
    assert trusted[order].all()
    turns = turns_of(order)
    assert len(turns) > 5
    speed = head_speed(swaying_poses())
    assert speed[turns].max() < np.quantile(speed, 0.25)
    assert all(min(abs(turn - rest) for rest in RESTS) <= 1 for turn in turns)


def test_the_track_is_the_longest_stretch_nearly_whole():
    trusted = trusted_except(range(118, 122), range(440, 441))
    order = set(islice(play_order(trusted, swaying_poses()), 2000))
    assert order == set(range(140, 421))


def test_a_still_pose_plays_the_calmest_seconds():
    calm = range(300, 420)
    order = set(islice(play_order(trusted_except(), swaying_poses(calm=calm), "still", 3), 1000))
    assert 20 < max(order) - min(order) < STILL_FRAMES
    assert order <= set(range(calm.start - 3, calm.stop + 3))


def test_equal_seeds_play_alike_and_others_start_elsewhere():
    def first_frames(seed):
        return tuple(islice(play_order(trusted_except(), swaying_poses(), "track", seed), 50))

    assert first_frames(1) == first_frames(1)
    assert len({first_frames(seed) for seed in range(5)}) > 2


def test_a_moving_head_is_turned_where_it_is_slowest():
    """A head that never rests: the turning points are still in the first and the last part of the stretch."""
    poses = torch.eye(4).repeat(100, 1, 1)
    poses[:, 0, 3] = torch.linspace(0, 10, 100) ** 2
    turns = turning_points(head_speed(poses), 10, 89)
    assert turns[0] < 23 and turns[-1] > 76


@pytest.mark.parametrize("count", [1, 2, 3, 50, 99, 100, 251, 1000])
def test_a_loop_ends_where_it_starts(count):
    trusted = trusted_except(range(200, 210))
    order = loop_order(trusted, swaying_poses(), count)
    assert len(order) == count and order[0] == order[-1] and trusted[order].all()
    steps = np.abs(np.diff(order))
    assert np.all(steps <= 1) and (steps == 0).sum() <= 1


def test_the_turns_of_a_loop_are_at_rest():
    speed, order = head_speed(swaying_poses()), loop_order(trusted_except(), swaying_poses(), 161)
    assert speed[[order[0], *turns_of(order)]].max() < 0.5 * np.median(speed)


def test_a_single_trusted_frame_is_repeated():
    trusted = torch.zeros(FRAMES, dtype=torch.bool)
    trusted[5] = True
    assert list(islice(play_order(trusted, swaying_poses()), 4)) == [5, 5, 5, 5]
    assert loop_order(trusted, swaying_poses(), 3) == [5, 5, 5]


def test_without_a_trusted_frame_there_is_nothing_to_play():
    assert trusted_stretches(np.array([True, False, True, True])) == [(0, 0), (2, 3)]
    with pytest.raises(FullFrameUnavailable, match="may be shown"):
        play_order(torch.zeros(FRAMES, dtype=torch.bool), swaying_poses())


def test_held_out_frames_and_those_that_are_not_usable_are_not_shown():
    usable = np.array([True, False, True, True, True])
    playable = PlayableFrames.learnt(np.ones((5, 3), np.float32), usable, held_out_from=4)
    assert playable.trusted.tolist() == [True, False, True, True, False]
