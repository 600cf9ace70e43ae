"""Image and motion metrics: pure functions of pictures and landmarks.

Pictures are RGB uint8; landmarks are (x, y) in px, with rows in order of time.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import savgol_coeffs
from skimage.metrics import structural_similarity

from adnerf_core.audio.speech_level import speech_frames
from adnerf_core.config import FPS, SAMPLE_RATE

Picture = UInt8[ndarray, "rows cols 3"]

MAX_PSNR = 99.0
"""PSNR of equal pictures, dB, instead of infinity, which JSON cannot hold; far above that of any rendering."""
JITTER_WINDOW = 7
"""Frames that a parabola is fitted to in `jitter`. Over 7 frames it follows motion below about 3 Hz, as heads move; a longer window
would count fast nods as jitter, a shorter one would follow the jitter itself."""
JITTER_TRIM = 0.05
"""Share of the frames, the worst ones, that `jitter` leaves out: enough for those in which the detector fails."""
SYNC_LAGS = range(-15, 16)
"""Lags, frames, at which `sync_offset` compares two series: .6 s either way, as SyncNet does."""
QUIET_MARGIN = 3
"""Frames next to speech (0.12 s on either side) that do not count as a pause, because the lips move before the sound starts."""


def psnr(picture: Picture, truth: Picture, weights: Float[ndarray, "rows cols"] | None = None) -> float:
    """Peak signal-to-noise ratio, -10 log10(MSE / 255^2) dB, at most MAX_PSNR.

    Args:
        picture: The rendering.
        truth: The picture it should equal.
        weights: Weight of each pixel in the mean, >= 0 and not all 0; equal weights by default.
    """
    error = ((picture.astype(np.float32) - truth) ** 2).mean(-1)
    mean = float(np.average(error, weights=weights)) / 255**2
    return min(MAX_PSNR, -10 * float(np.log10(max(mean, 1e-12))))


def ssim(picture: Picture, truth: Picture) -> float:
    """Structural similarity (Wang et al., 2004), -1..1: the mean over the colours, in windows of 7 x 7 px."""
    return float(structural_similarity(picture, truth, channel_axis=2, data_range=255))


def sharpness(picture: Picture, weights: Float[ndarray, "rows cols"]) -> float:
    """Mean absolute Laplacian of the brightness, in grey levels, weighted as in `psnr`: the amount of fine detail."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.average(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), weights=weights))


def landmark_distance(
    points: Float[ndarray, "n points 2"], truth: Float[ndarray, "n points 2"]
) -> Float[ndarray, " n"]:
    """Mean distance between corresponding points after both sets are centred: measures shape, not position."""
    offset = (points - points.mean(1, keepdims=True)) - (truth - truth.mean(1, keepdims=True))
    return np.linalg.norm(offset, axis=-1).mean(1)


def correlation(series: Float[ndarray, " n"], truth: Float[ndarray, " n"]) -> float | None:
    """Pearson correlation, -1..1, over the entries where both series are finite.

    Returns:
        The correlation; None if fewer than 3 entries remain or one of the series is constant.
    """
    finite = np.isfinite(series) & np.isfinite(truth)
    a, b = series[finite], truth[finite]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def amplitude(series: Float[ndarray, " n"], truth: Float[ndarray, " n"]) -> float | None:
    """Standard deviation of `series` over that of `truth`, where both are finite; None if `truth` is constant there."""
    finite = np.isfinite(series) & np.isfinite(truth)
    spread = float(np.std(truth[finite])) if finite.any() else 0.0
    return float(np.std(series[finite])) / spread if spread > 0 else None


def sync_offset(series: Float[ndarray, " n"], truth: Float[ndarray, " n"]) -> tuple[float, float] | None:
    """How much later `series` is than `truth`, and how certain that is, by their correlation at each of SYNC_LAGS.

    After SyncNet (Chung and Zisserman, "Out of time", 2016), with openings of the mouth in the place of learnt features.

    Args:
        series, truth: values of consecutive frames; NaN where unknown.

    Returns:
        The offset, frames, negative if `series` is early: the lag of the highest correlation, between frames by a parabola. The confidence:
        that correlation minus the median over all lags, 0..2. None if fewer than 3 entries overlap at some lag or a series is constant.
    """
    pairs = [(series[max(lag, 0) :], truth[max(-lag, 0) :]) for lag in SYNC_LAGS]
    curve = [correlation(a[: len(b)], b[: len(a)]) for a, b in pairs]
    if None in curve:
        return None
    top = int(np.argmax(curve[1:-1])) + 1  # a maximum at the end of the range has no parabola
    before, peak, after = curve[top - 1 : top + 2]
    bend = before - 2 * peak + after
    shift = (before - after) / (2 * bend) if bend < 0 else 0.0
    return SYNC_LAGS[top] + min(max(shift, -0.5), 0.5), peak - float(np.median(curve))


def jitter(points: Float[ndarray, "n points 2"]) -> float | None:
    """How much points tremble around their smooth motion, px.

    The residual of a point is its distance from a parabola fitted to the JITTER_WINDOW frames around it (a Savitzky-Golay
    filter). A frame's residual is the median over its points, and the result is the mean over the frames without the
    JITTER_TRIM worst: neither a stray landmark nor a frame in which the detector fails decides it. The detector's own noise is
    included, so compare the result with that of the footage.

    Args:
        points: Points in consecutive frames; NaN in frames without a face.

    Returns:
        The jitter; None if nowhere JITTER_WINDOW consecutive frames have a face.
    """
    if len(points) < JITTER_WINDOW:
        return None
    windows = sliding_window_view(points, JITTER_WINDOW, axis=0)
    smooth = windows @ savgol_coeffs(JITTER_WINDOW, 2, use="dot")
    residual = np.linalg.norm(points[JITTER_WINDOW // 2 : len(points) - JITTER_WINDOW // 2] - smooth, axis=-1)
    residual = np.sort(np.median(residual[np.isfinite(residual).all(1)], axis=1))
    return float(residual[: math.ceil(len(residual) * (1 - JITTER_TRIM))].mean()) if len(residual) else None


def quiet_frames(samples: Float[ndarray, " samples"], frames: int) -> Bool[ndarray, " frames"]:
    """Finds the video frames that lie in a pause of the sound, at least QUIET_MARGIN frames away from speech.

    Args:
        samples: The sound, 16 kHz, -1..1.
        frames: Number of video frames; where the sound ends earlier, silence is assumed.
    """
    hop = SAMPLE_RATE // FPS
    padded = np.pad(samples[: frames * hop], (0, max(0, frames * hop - len(samples))))
    return ~np.convolve(speech_frames(padded.reshape(frames, hop)), np.ones(2 * QUIET_MARGIN + 1), "same").astype(bool)
