"""What the person does besides speaking, moment by moment: the footage's own motion, or a quiet pose that lives."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from adnerf_core.cameras.view_control import canonical_frame, head_angles, rotate_head
from adnerf_core.config import FPS, RenderOptions
from adnerf_core.synthesis.subject import Subject

BLINK = (0.75, 0.35, 0.05, 0.0, 0.2, 0.5, 0.8, 0.95)
"""Openness during a blink, a frame each (0.3 s; the lid falls faster than it rises)."""
BLINK_EVERY_S = (2.0, 6.0)
SWAY = 0.3
"""How much a still head sways, as a share of how much it moves in the footage (standard deviations)."""
SWAY_DEG = 1.0
"""At most, standard deviation."""
SWAY_HZ = (0.05, 0.35)
WAVES = 4


class MotionFrame(NamedTuple):
    """Pose of the head, motion of the torso, eyes and brows; as Subject has them, one frame each."""

    pose: Float[Tensor, "4 4"]
    torso: Float[Tensor, " 4"]
    upper: Float[Tensor, " 2"]


def motion_frames(subject: Subject, options: RenderOptions) -> Iterator[MotionFrame]:
    """The moments of a video, without end. MotionFrame k is the same however long the video is."""
    return idle(subject, options.seed) if options.pose == "still" else replay_track(subject)


def replay_track(subject: Subject) -> Iterator[MotionFrame]:
    """The footage's own motion, to its end, then backwards, then again."""
    for k in itertools.count():
        place = ping_pong(k, len(subject.poses))
        yield MotionFrame(subject.poses[place], subject.torso[place], subject.upper[place])


def idle(subject: Subject, seed: int) -> Iterator[MotionFrame]:
    """The most usual pose, with a slight sway and natural blinks, both drawn from `seed`."""
    place = canonical_frame(subject.poses)
    pose, torso = subject.poses[place], subject.torso[place]
    spread = (SWAY * head_angles(subject.poses).std(0)).clamp(max=SWAY_DEG)
    for wave, upper in zip(sway(seed), blinks(subject.upper.median(0).values, seed), strict=True):
        yield MotionFrame(rotate_head(pose, spread * wave.to(pose)), torso, upper)


def ping_pong(k: int, length: int) -> int:
    """The k-th place of a track that is played to its end, then backwards, then again (no jump when it is too short)."""
    if length == 1:
        return 0
    place = k % (2 * length - 2)
    return place if place < length else 2 * length - 2 - place


def blinks(usual: Float[Tensor, " 2"], seed: int) -> Iterator[Float[Tensor, " 2"]]:
    """Eyes as open as usual, shut now and then; the brows quiet. Without end."""
    generator = np.random.default_rng(seed)
    wait = generator.uniform(0.5, BLINK_EVERY_S[1])
    while True:
        yield from itertools.repeat(usual, round(wait * FPS))
        for openness in BLINK:
            lids = usual.clone()
            lids[0] = (1 + usual[0]) * openness - 1
            yield lids
        wait = generator.uniform(*BLINK_EVERY_S) - len(BLINK) / FPS


def sway(seed: int) -> Iterator[Float[Tensor, " 3"]]:
    """Three slow, smooth, unrelated motions with a variance of one: sums of a few waves. Without end."""
    generator = np.random.default_rng((seed, 1))
    rates = 2 * math.pi * generator.uniform(*SWAY_HZ, (3, WAVES))
    phases = generator.uniform(0, 2 * math.pi, (3, WAVES))
    for k in itertools.count():
        waves = np.sin(rates * k / FPS + phases).sum(1) * math.sqrt(2 / WAVES)
        yield torch.from_numpy(waves).float()
