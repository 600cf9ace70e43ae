"""Detects a watermark in a video (see spread_spectrum.py for the method)."""

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
    FREQUENCIES,
    NO_CROP,
    PERIOD_S,
    PHASES,
    RASTER,
    Crop,
    Spectrum,
    SpreadSpectrumCode,
)

MAX_WINDOWS, WINDOW_S = 5, 10.0
"""A video is searched in at most MAX_WINDOWS windows of WINDOW_S seconds, evenly spread, which bounds the time. A window holds two
periods of the watermark; several of them find it in a video of which only a part is marked."""
PICTURE_RATE = 12.5
"""Pictures per second that are searched. Each is the mean of two frames, because neighbouring frames have different coding errors.
Chosen in trials with means of one to four frames; the highest frequency of the watermark is 2.4 Hz."""
MAX_CHANGE = 2.5
"""Limit, in 8-bit steps, of the change of a pixel from picture to picture. The watermark changes more slowly, so what is cut off is motion
or a scene cut. Chosen in trials with limits of 1 to 6."""
CROP_SHARES = (0.0, 0.025, 0.05, 0.1)
"""Shares of the picture that may have been cut off at each side. Between them a cell is off by at most 1/40 of the picture, a third of its
width."""
MAX_FALSE_ALARM = 1e-12
"""Largest acceptable probability of a false alarm. The score that it asks for, about 12, also excludes nearly all misread numbers."""
BAR_TOLERANCE = 6
"""Grey levels by which a row of a letterbox bar may vary, along the row and over time: coding errors."""


@dataclass(frozen=True)
class Detection:
    """A watermark that was found.

    Attributes:
        number: the embedded number.
        score: in standard deviations of the score of one number in unmarked videos.
        false_alarm: bound on the probability that a video without this key's watermark gives any number with that score.
    """

    number: int
    score: float
    false_alarm: float


def detect(video: Path, key: bytes) -> Detection | None:
    """Searches a video of any size, frame rate, length and coding for a watermark.

    Time and memory are bounded, so the file may come from an untrusted source.

    Returns:
        The watermark, or None if there is none, or too little is left of it.

    Raises:
        ValueError: the key is shorter than KEY_BYTES.
        NotMedia, NoVideo, MediaTooLarge, MediaTooLong: see ffmpeg.probe.
    """
    code = SpreadSpectrumCode(key)
    searches = _search_plan(video)
    for spectrum, crops in searches:
        number, score = code.decode(spectrum, crops)
        # Each search may take an equal share of the alarms.
        bound = false_alarm(score, len(searches) * len(crops) * PHASES)
        if bound <= MAX_FALSE_ALARM:
            return Detection(number, round(score, 2), bound)
    return None


def false_alarm(score: float, alignments: int) -> float:
    """Bounds the probability that an unmarked video reaches a score with any number at any alignment.

    The bound is N 2^BITS exp(-score^2 / 2) for N `alignments` (see spread_spectrum.py), at most 1.
    """
    return math.exp(min(0.0, BITS * math.log(2) + math.log(alignments) - score**2 / 2))


def _search_plan(video: Path) -> list[tuple[Spectrum, list[Crop]]]:
    """The spectra to search, the most promising first, each with the croppings to try.

    They are: all windows together as they are, and without letterbox bars; each window alone; mirrored; and cropped.
    """
    spectra, bars = [], NO_CROP
    for pictures, times in _windows(video):
        if not spectra:
            bars = find_letterbox(pictures)
        spectra.append(temporal_spectrum(pictures, times))
    together = sum(spectra)
    searches = [(together, [NO_CROP])]
    if bars != NO_CROP:
        searches.append((together, [bars]))
    if len(spectra) > 1:
        searches += [(spectrum, [NO_CROP]) for spectrum in spectra]
    searches.append((together[..., ::-1], [NO_CROP]))
    searches.append((together, list(product(CROP_SHARES, repeat=4))[1:]))
    return searches


def _windows(
    video: Path,
) -> Iterator[tuple[Float[np.ndarray, "pictures raster raster"], Float[np.ndarray, " pictures"]]]:
    """The luma pictures of each window, and their times from the start of the file, s."""
    length = ffmpeg.probe(video).duration_s
    count = min(MAX_WINDOWS, max(1, math.ceil(length / WINDOW_S)))
    for start in np.linspace(0, max(0.0, length - WINDOW_S), count).tolist():
        frames = ffmpeg.read_frames(
            video, size=(RASTER, RASTER), fps=2 * PICTURE_RATE, start_s=start, duration_s=WINDOW_S
        )
        try:
            pictures, times = luma_pairs(frames)
        except NotMedia:
            if start > 0:  # the audio may be longer than the video
                return
            raise
        yield pictures, start + times


def luma_pairs(
    frames: Iterable[UInt8[np.ndarray, "raster raster 3"]],
) -> tuple[Float[np.ndarray, "pictures raster raster"], Float[np.ndarray, " pictures"]]:
    """Averages the luma of pairs of frames.

    Args:
        frames: one or more frames, RGB, 2 * PICTURE_RATE per second. The last of an odd number is paired with itself.

    Returns:
        The pictures, and their times since the first frame, s.
    """
    luma = np.stack([cv2.cvtColor(frame.astype(np.float32), cv2.COLOR_RGB2GRAY) for frame in frames])
    luma = np.concatenate([luma, luma[-1:]]) if len(luma) % 2 else luma
    return (luma[::2] + luma[1::2]) / 2, (np.arange(0, len(luma), 2) + 0.5) / (2 * PICTURE_RATE)


def temporal_spectrum(
    pictures: Float[np.ndarray, "pictures raster raster"], times: Float[np.ndarray, " pictures"]
) -> Spectrum:
    """Computes the Fourier coefficients of each pixel over time, at the watermark's frequencies.

    Changes from picture to picture are limited to MAX_CHANGE first. With the limited pictures x_j at the times t_j, both factors minus
    their means over j, the coefficients are

        C_k = mean_j x_j cos(2 pi k t_j / PERIOD_S),    S_k = mean_j x_j sin(2 pi k t_j / PERIOD_S).

    Args:
        pictures: luma, 0..255.
        times: times of the pictures, s; the phase of the coefficients refers to time 0.
    """
    changes = np.clip(np.diff(pictures, axis=0, prepend=pictures[:1]), -MAX_CHANGE, MAX_CHANGE)
    limited = np.cumsum(changes, axis=0)
    phases = 2 * math.pi / PERIOD_S * times * np.arange(1, FREQUENCIES + 1)[:, None]
    waves = np.stack([np.cos(phases), np.sin(phases)], 1)
    waves -= waves.mean(-1, keepdims=True)
    return np.tensordot(waves.astype(np.float32), limited - limited.mean(0), 1) / np.float32(len(limited))


def find_letterbox(pictures: Float[np.ndarray, "pictures raster raster"]) -> Crop:
    """Finds bars, rows and columns at the edges of one colour that never changes, as a negative cropping."""
    picture, changes = pictures[0], np.ptp(pictures[:: max(1, len(pictures) // 16)], axis=0)  # 16 pictures are enough
    return *_bars(picture, changes), *_bars(picture.T, changes.T)


def _bars(
    picture: Float[np.ndarray, "raster raster"], changes: Float[np.ndarray, "raster raster"]
) -> tuple[float, float]:
    """The bars before the first and after the last row of the picture proper, as negative shares of its height."""
    is_bar = (np.ptp(picture, axis=1) < BAR_TOLERANCE) & (changes.max(axis=1) < BAR_TOLERANCE)
    before, after = int(np.argmin(is_bar)), int(np.argmin(is_bar[::-1]))  # argmin is 0 if all rows are alike
    height = RASTER - before - after
    return -before / height, -after / height
