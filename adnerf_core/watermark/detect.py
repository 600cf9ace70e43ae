"""Detects the watermark in a video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.errors import NotMedia
from adnerf_core.files import ffmpeg
from adnerf_core.watermark.spread_spectrum import (
    BITS,
    PERIOD_S,
    PHASES,
    RASTER,
    WAVES,
    WHOLE,
    Cut,
    SpreadSpectrumCode,
    Waves,
)

WINDOWS, WINDOW_S, RATE = 5, 10.0, 12.5
"""So many windows are searched at most, spread over the video, and so many pictures a second of each, means of two frames."""
SLOW = 2.5
"""By so many steps of 8 bits a place may change from picture to picture; more is no mark, but motion or a cut, and is limited."""
LOST = (0.0, 0.025, 0.05, 0.1)
"""Shares of the picture that may have been cut off on each side."""
FALSE_ALARM = 1e-12
"""How probable a false alarm may be, at most. It also keeps away from scores at which a number may be read wrong."""


@dataclass(frozen=True)
class Detection:
    """A mark that was found. `score` is in standard deviations of what unmarked videos give for one number; `false_alarm` bounds
    the probability that a video without this key's mark gives any number with that score."""

    number: int
    score: float
    false_alarm: float


def detect(video: Path, key: bytes) -> Detection | None:
    """The mark in a video of whatever size, frame rate, length and coding; None where there is none, or too little of it.

    Time and memory are bounded, and the file may be a stranger's. Raises ValueError for a key of less than 16 bytes; NotMedia,
    NoVideo, MediaTooLarge, MediaTooLong.
    """
    signs = SpreadSpectrumCode(key)
    looks = _search_plan(video)
    for waves, cuts in looks:
        number, score = signs.read(waves, cuts)
        bound = false_alarm(score, len(looks) * len(cuts) * PHASES)  # each look may give as many false alarms
        if bound <= FALSE_ALARM:
            return Detection(number, round(score, 2), bound)
    return None


def false_alarm(score: float, alignments: int) -> float:
    """How probable it is at most that an unmarked video reaches a score with any number at one of so many alignments."""
    return math.exp(min(0.0, BITS * math.log(2) + math.log(alignments) - score**2 / 2))


def _search_plan(video: Path) -> list[tuple[Waves, list[Cut]]]:
    """What is searched, the likeliest first: waves, and the cuts to try on them."""
    windows, bars = [], WHOLE
    for pictures, times in _windows(video):
        windows.append(temporal_spectrum(pictures, times))
        bars = find_letterbox(pictures) if len(windows) == 1 else bars
    together = sum(windows)
    looks = [(together, [WHOLE])]
    if bars != WHOLE:
        looks.append((together, [bars]))
    if len(windows) > 1:
        looks += [(window, [WHOLE]) for window in windows]
    looks.append((together[..., ::-1], [WHOLE]))  # mirrored
    looks.append((together, list(product(LOST, repeat=4))[1:]))
    return looks


def _windows(
    video: Path,
) -> Iterator[tuple[Float[np.ndarray, "frames raster raster"], Float[np.ndarray, " frames"]]]:
    """Pictures (luma) of each window, and their times on the file's timeline, s."""
    length = ffmpeg.probe(video).duration_s
    count = min(WINDOWS, max(1, math.ceil(length / WINDOW_S)))
    for start in np.linspace(0, max(0.0, length - WINDOW_S), count).tolist():
        frames = ffmpeg.read_frames(video, size=(RASTER, RASTER), fps=2 * RATE, start_s=start, duration_s=WINDOW_S)
        try:
            pictures, times = luma_pairs(frames)
        except NotMedia:
            if start > 0:  # the sound may go on when the pictures have ended
                return
            raise
        yield pictures, start + times


def luma_pairs(
    frames: Iterable[UInt8[np.ndarray, "raster raster 3"]],
) -> tuple[Float[np.ndarray, "pictures raster raster"], Float[np.ndarray, " pictures"]]:
    """Luma of frames (RGB, 2 * RATE a second, one or more), the mean of each two, and their times since the first frame, s.

    Coders give neighbouring frames different errors, of which the mean has less.
    """
    luma = np.stack([cv2.cvtColor(frame.astype(np.float32), cv2.COLOR_RGB2GRAY) for frame in frames])
    luma = np.concatenate([luma, luma[-1:]]) if len(luma) % 2 else luma
    return (luma[::2] + luma[1::2]) / 2, (np.arange(0, len(luma), 2) + 0.5) / (2 * RATE)


def temporal_spectrum(
    pictures: Float[np.ndarray, "frames raster raster"], times: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, "waves 2 raster raster"]:
    """How much of each wave, cosine and sine, is in each place; nothing of what stands still, little of what jumps."""
    changes = np.clip(np.diff(pictures, axis=0, prepend=pictures[:1]), -SLOW, SLOW)
    calm = np.cumsum(changes, axis=0)
    phases = 2 * math.pi / PERIOD_S * times * np.arange(1, WAVES + 1)[:, None]
    waves = np.stack([np.cos(phases), np.sin(phases)], 1)
    waves -= waves.mean(-1, keepdims=True)
    return np.tensordot(waves.astype(np.float32), calm - calm.mean(0), 1) / np.float32(len(calm))


def find_letterbox(pictures: Float[np.ndarray, "frames raster raster"]) -> Cut:
    """The cut that takes off rows and columns of one still colour at the edges."""
    steady = np.ptp(pictures[:: max(1, len(pictures) // 16)], axis=0)
    picture = pictures[0]

    def count(lines: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        """How many lines from the edge on are bars."""
        plain = (np.ptp(line) < 6 and still.max() < 6 for line, still in lines)
        return next((k for k, bar in enumerate(plain) if not bar), 0)

    def cut(picture: np.ndarray, steady: np.ndarray) -> tuple[float, float]:
        before = count(zip(picture, steady, strict=True))
        after = count(zip(picture[::-1], steady[::-1], strict=True))
        left = RASTER - before - after
        return -before / left, -after / left

    return *cut(picture, steady), *cut(picture.T, steady.T)
