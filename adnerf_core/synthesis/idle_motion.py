"""The motion besides the lips, frame by frame: that of the footage, or a still pose with natural sway and blinks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from adnerf_core.cameras.view_control import ScaledMotion, canonical_frame, head_angles, rotate_head
from adnerf_core.config import FPS, RenderOptions
from adnerf_core.synthesis.play_order import loop_order
from adnerf_core.synthesis.subject import Subject

BLINK_OPENNESS = (0.75, 0.35, 0.05, 0.0, 0.2, 0.5, 0.8, 0.95)
"""Openness of the eyes in the frames of a blink, as a share of the usual one: 0.3 s, like a human blink, in which the lid closes faster
than it opens."""
BLINK_INTERVAL_S = (2.0, 6.0)
"""Least and greatest time from one blink to the next; the mean gives 15 blinks a minute, as usual for people at rest."""
FIRST_BLINK_S = 0.5
"""Earliest time of the first blink, so that no video starts with shut eyes."""
SWAY_SHARE = 0.3
"""Sway of a still head as a share of its motion in the footage (standard deviations): visible, but clearly less than speaking."""
MAX_SWAY_DEG = 1.0
"""Largest standard deviation of the sway, for footage in which the head turns a lot."""
SWAY_HZ = (0.05, 0.35)
"""Lowest and highest frequency of the sway: one swing takes 3 to 20 s, slower than any gesture."""
SWAY_WAVES = 4
"""Sine waves that are summed for each angle: enough that no period can be seen."""


class MotionFrame(NamedTuple):
    """Motion in one frame, in the form of Subject's tracks.

    Attributes:
        pose: Head pose, camera to world.
        torso: Torso motion.
        upper: Eyes, brows and gaze (Track.upper_face).
    """

    pose: Float[Tensor, "4 4"]
    torso: Float[Tensor, " 4"]
    upper: Float[Tensor, " 5"]


def motion_frames(subject: Subject, options: RenderOptions, loop: int | None = None) -> Iterator[MotionFrame]:
    """Yields the motion of a video, scaled by options.motion.

    Args:
        subject: the subject.
        options: pose, motion and seed.
        loop: number of frames, the first and the last of which are alike. None: without end, and frame k does not depend on the length.
    """
    if options.pose == "still":
        frames = idle(subject, options.seed, loop)
    else:
        frames = replay_track(subject, loop)
    return frames if options.motion == 1 else scaled(frames, subject, options.motion)


def replay_track(subject: Subject, loop: int | None = None) -> Iterator[MotionFrame]:
    """Yields the motion of the footage, forwards and backwards in turn; for a `loop`, that of its quietest stretch."""
    if loop is None:
        order = (ping_pong(k, len(subject.poses)) for k in itertools.count())
    else:
        order = loop_order(torch.ones(len(subject.poses), dtype=torch.bool), subject.poses, loop)
    for i in order:
        yield MotionFrame(subject.poses[i], subject.torso[i], subject.upper[i])


def idle(subject: Subject, seed: int, loop: int | None = None) -> Iterator[MotionFrame]:
    """Yields the most usual pose of the footage with a slight sway and blinks, both drawn from `seed`; `loop` as in motion_frames."""
    i = canonical_frame(subject.poses)
    pose, torso = subject.poses[i], subject.torso[i]
    spread = (SWAY_SHARE * head_angles(subject.poses).std(0)).clamp(max=MAX_SWAY_DEG)
    lids = blinks(subject.upper.median(0).values, seed)
    if loop is not None:
        lids = without_last_blink(itertools.islice(lids, loop))
    for wave, upper in zip(sway(seed, loop), lids, strict=False):
        yield MotionFrame(rotate_head(pose, spread * wave.to(pose)), torso, upper)


def scaled(frames: Iterable[MotionFrame], subject: Subject, scale: float) -> Iterator[MotionFrame]:
    """Yields `frames` with the motion of head and torso scaled about the most usual frame of the footage; eyes and brows are kept."""
    move = ScaledMotion(subject.poses, subject.view_limits, scale)
    usual, low, high = subject.torso[canonical_frame(subject.poses)], subject.torso.amin(0), subject.torso.amax(0)
    for frame in frames:
        torso = (usual + scale * (frame.torso - usual)).clamp(low, high)
        yield MotionFrame(move(frame.pose), torso, frame.upper)


def ping_pong(k: int, length: int) -> int:
    """Returns the index of the k-th frame of a track of `length` frames that is played forwards and backwards in turn.

    Unlike a loop, this has no jump when the track starts again.
    """
    if length == 1:
        return 0
    i = k % (2 * length - 2)
    return i if i < length else 2 * length - 2 - i


def blinks(usual: Float[Tensor, " 5"], seed: int) -> Iterator[Float[Tensor, " 5"]]:
    """Yields eyes, brows and gaze (Track.upper_face), without end: the `usual` values, with blinks of both eyes at random intervals.

    Args:
        usual: Values between blinks.
        seed: Seed of the intervals.
    """
    generator = np.random.default_rng(seed)
    wait = generator.uniform(FIRST_BLINK_S, BLINK_INTERVAL_S[1])
    while True:
        yield from itertools.repeat(usual, round(wait * FPS))
        for openness in BLINK_OPENNESS:
            lids = usual.clone()
            lids[:2] = (1 + usual[:2]) * openness - 1
            yield lids
        wait = generator.uniform(*BLINK_INTERVAL_S) - len(BLINK_OPENNESS) / FPS


def without_last_blink(lids: Iterable[Float[Tensor, " 2"]]) -> list[Float[Tensor, " 2"]]:
    """Returns what `blinks` yielded, without a blink that lasts to the end: the last frame is like the first."""
    kept = list(lids)
    usual, last = kept[0], len(kept) - 1
    while kept[last] is not usual:
        kept[last] = usual
        last -= 1
    return kept


def sway(seed: int, loop: int | None = None) -> Iterator[Float[Tensor, " 3"]]:
    """Yields three slow, smooth and independent motions with unit variance, without end.

    Each is sqrt(2 / n) sum_i sin(2 pi f_i t + p_i), with n = SWAY_WAVES random frequencies f_i (SWAY_HZ) and phases p_i. If frame `loop` - 1 is
    to be like frame 0, each wave has a whole number of periods up to there; those that would have none stand still.
    """
    generator = np.random.default_rng((seed, 1))
    hertz = generator.uniform(*SWAY_HZ, (3, SWAY_WAVES))
    if loop is not None:
        seconds = max(1, loop - 1) / FPS
        hertz = np.round(hertz * seconds) / seconds
    rates = 2 * math.pi * hertz
    phases = generator.uniform(0, 2 * math.pi, (3, SWAY_WAVES))
    for k in itertools.count():
        waves = np.sin(rates * k / FPS + phases).sum(1) * math.sqrt(2 / SWAY_WAVES)
        yield torch.from_numpy(waves).float()
