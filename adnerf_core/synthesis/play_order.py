"""The order in which a subject's footage is played: neighbouring frames only, forwards and backwards, and only frames that may be shown.

Playing backwards reverses the motion of the head at once, which shows unless it is nearly at rest. So the direction changes where
the head is slowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle, repeat
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from adnerf_core.config import FPS
from adnerf_core.errors import FullFrameUnavailable

SPEED_POINTS = torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Points whose motion is the head's: bridge of the nose, outer corners of the eyes, and about the chin; head frame, head units."""
SPEED_SIGMA = 1.5
"""Standard deviation, frames, of the smoothing of the head's speed, so that the tracker's noise makes no turning points."""
REST_QUANTILE = 0.25
"""A turning point is a minimum of the head's speed below this quantile of the speeds. On the reference clip that is .0043 head units
a frame, half a pixel at 512 px; the direction then changes by one pixel a frame, which nobody sees."""
END_SHARE = 0.15
"""Share of a stretch, at either end, in which it is turned round at the slowest frame if no minimum is slow enough."""
STILL_FRAMES = 4 * FPS
"""Length of the quiet stretch that a still pose plays, frames: long enough for breathing and a blink, short enough to be quiet."""


def play_order(
    trusted: Bool[Tensor, " frames"],
    poses: Float[Tensor, "frames 4 4"],
    pose: Literal["track", "still"] = "track",
    seed: int = 0,
) -> Iterator[int]:
    """Returns the numbers of the frames to show, without end.

    Two consecutive numbers differ by exactly 1 (unless only one frame may be shown), and every frame is trusted. All frames come from
    one stretch without gaps.

    Args:
        trusted: the frames that may be shown.
        poses: camera-to-world pose of every frame.
        pose: `track` plays the longest stretch to and fro; `still` plays the quietest STILL_FRAMES of any stretch.
        seed: chooses where a video starts and, in `still`, where it turns round.

    Raises:
        FullFrameUnavailable: no frame is trusted.
    """
    speed, generator = head_speed(poses), np.random.default_rng(seed)
    stretches = trusted_stretches(trusted.cpu().numpy())
    if pose == "still":
        first, last = _quietest(stretches, speed)
    else:
        first, last = max(stretches, key=_length)
    if first == last:
        return repeat(first)
    turns = turning_points(speed, first, last)
    targets = _random_turns(turns, generator) if pose == "still" else cycle((int(turns[-1]), int(turns[0])))
    return _walk(int(generator.choice(turns)), targets)


def loop_order(trusted: Bool[Tensor, " frames"], poses: Float[Tensor, "frames 4 4"], count: int) -> list[int]:
    """Returns the numbers of `count` frames that make a loop: the first and the last are the same frame.

    The frames are those of the quietest stretch, as for a still pose, played forwards and backwards once or more. Consecutive
    numbers differ by 1; if `count` is even, the head rests for one frame more at one of the turning points.
    """
    speed = head_speed(poses)
    first, last = _quietest(trusted_stretches(trusted.cpu().numpy()), speed)
    turns = turning_points(speed, first, last)
    steps, longest = (count - 1) // 2, int(turns[-1] - turns[0])
    if steps == 0 or longest == 0:
        return [int(turns[0])] * count
    rounds = -(-steps // longest)
    lengths = [steps // rounds + (i < steps % rounds) for i in range(rounds)]
    starts = np.arange(turns[0], turns[-1] - lengths[0] + 1)
    start = int(starts[np.argmin(speed[starts] + speed[starts + lengths[0]])])
    order = [start]
    for length in lengths:
        order += [*range(start + 1, start + length + 1), *range(start + length - 1, start - 1, -1)]
    return order + [start] * (count - len(order))


def head_speed(poses: Float[Tensor, "frames 4 4"]) -> Float[ndarray, " frames"]:
    """Returns how far the head moves from frame to frame, head units, smoothed: the mean over SPEED_POINTS, in the camera's axes."""
    points = SPEED_POINTS.to(poses)
    places = ((points - poses[:, None, :3, 3]) @ poses[:, :3, :3]).cpu().double().numpy()
    if len(places) < 2:
        return np.zeros(len(places))
    moved = np.linalg.norm(np.gradient(places, axis=0), axis=-1).mean(-1)
    return gaussian_filter1d(moved, SPEED_SIGMA, mode="nearest")


def trusted_stretches(trusted: Bool[ndarray, " frames"]) -> list[tuple[int, int]]:
    """Returns the first and the last frame of every longest run of trusted frames.

    Raises:
        FullFrameUnavailable: no frame is trusted.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], trusted, [False]]).astype(int)))
    if len(edges) == 0:
        raise FullFrameUnavailable(
            "No frame of the footage may be shown with other lips.",
            "Create the subject from footage that shows the whole face, or ask for frame `portrait`.",
        )
    return [(int(start), int(end) - 1) for start, end in edges.reshape(-1, 2)]


def turning_points(speed: Float[ndarray, " frames"], first: int, last: int) -> Int[ndarray, " points"]:
    """Returns the frames from `first` to `last` at which the head is nearly at rest, ascending.

    If there are none in the first or the last END_SHARE of the stretch, the slowest frame there is added, so that most of the stretch is
    played.
    """
    part = speed[first : last + 1]
    padded = np.pad(part, 1, constant_values=np.inf)
    rests = (part <= padded[:-2]) & (part <= padded[2:]) & (part <= np.quantile(speed, REST_QUANTILE))
    end = max(1, round(END_SHARE * len(part)))
    for share in (slice(None, end), slice(len(part) - end, None)):
        if not rests[share].any():
            rests[share][np.argmin(part[share])] = True
    return first + np.flatnonzero(rests)


def _quietest(stretches: list[tuple[int, int]], speed: Float[ndarray, " frames"]) -> tuple[int, int]:
    """Returns the STILL_FRAMES of any stretch in which the head moves least; the longest stretch if all are shorter."""
    windows = [
        (start, start + STILL_FRAMES - 1)
        for first, last in stretches
        for start in range(first, last - STILL_FRAMES + 2)
    ]
    if not windows:
        return max(stretches, key=_length)
    total = np.concatenate([[0.0], np.cumsum(speed)])
    return min(windows, key=lambda window: total[window[1] + 1] - total[window[0]])


def _length(stretch: tuple[int, int]) -> int:
    return stretch[1] - stretch[0]


def _random_turns(turns: Int[ndarray, " points"], generator: np.random.Generator) -> Iterator[int]:
    """Draws turning points without end; two consecutive ones differ."""
    previous = -1
    while True:
        previous = int(generator.choice(turns[turns != previous]))
        yield previous


def _walk(start: int, targets: Iterable[int]) -> Iterator[int]:
    """Yields the frames from `start` to each of `targets` in turn, step by step."""
    k = start
    for target in targets:
        while k != target:
            yield k
            k += 1 if target > k else -1
