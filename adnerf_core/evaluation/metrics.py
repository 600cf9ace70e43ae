"""Figures of merit: pure functions on pictures and landmarks. Pictures are RGB uint8, landmarks (x, y) in px."""

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

BEST_PSNR = 99.0
"""What equal pictures are given instead of infinity, dB."""
SMOOTH, TRIM = 7, 0.05
"""Frames that a parabola is fitted to, and the share of the frames that is left out, in jitter."""
QUIET_MARGIN = 3
"""How many frames of a pause next to speech do not count: lips move before the sound."""


def psnr(picture: Picture, truth: Picture, weights: Float[ndarray, "rows cols"] | None = None) -> float:
    """Peak signal-to-noise ratio, dB; every pixel counts as much as its weight (>= 0, not all 0; equally where None)."""
    error = ((picture.astype(np.float32) - truth) ** 2).mean(-1)
    mean = float(np.average(error, weights=weights)) / 255**2
    return min(BEST_PSNR, -10 * float(np.log10(max(mean, 1e-12))))


def ssim(picture: Picture, truth: Picture) -> float:
    """Structural similarity, -1..1, mean over the colours, in windows of 7 x 7 px."""
    return float(structural_similarity(picture, truth, channel_axis=2, data_range=255))


def sharpness(picture: Picture, weights: Float[ndarray, "rows cols"]) -> float:
    """Mean absolute Laplacian of the brightness: how much fine detail there is, in grey levels; weighted as in psnr."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.average(np.abs(cv2.Laplacian(gray, cv2.CV_32F)), weights=weights))


def landmark_distance(
    points: Float[ndarray, "n points 2"], truth: Float[ndarray, "n points 2"]
) -> Float[ndarray, " n"]:
    """Mean distance of points from the true ones, both centred on their mean: shape counts, place does not."""
    off = (points - points.mean(1, keepdims=True)) - (truth - truth.mean(1, keepdims=True))
    return np.linalg.norm(off, axis=-1).mean(1)


def correlation(series: Float[ndarray, " n"], truth: Float[ndarray, " n"]) -> float | None:
    """Pearson's, -1..1, where both are finite. None where one of them does not vary or fewer than 3 values are left."""
    both = np.isfinite(series) & np.isfinite(truth)
    a, b = series[both], truth[both]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def amplitude(series: Float[ndarray, " n"], truth: Float[ndarray, " n"]) -> float | None:
    """Standard deviation over the true one, where both are finite. None where the truth does not vary."""
    both = np.isfinite(series) & np.isfinite(truth)
    spread = float(np.std(truth[both])) if both.any() else 0.0
    return float(np.std(series[both])) / spread if spread > 0 else None


def jitter(points: Float[ndarray, "n points 2"]) -> float | None:
    """How much points tremble beside their own smooth motion, px; frames in order of time, NaN where there is none.

    Off a parabola fitted to the SMOOTH frames around (which follows motion below about 3 Hz), the middle distance of all points
    of a frame, the mean of that over the frames without the TRIM worst: so neither one stray landmark nor one frame in which the
    detector failed decides. The detector's own noise counts, so compare with its figure for the truth. None where no SMOOTH
    frames stand together.
    """
    if len(points) < SMOOTH:
        return None
    near = sliding_window_view(points, SMOOTH, axis=0)
    smooth = near @ savgol_coeffs(SMOOTH, 2, use="dot")
    off = np.linalg.norm(points[SMOOTH // 2 : len(points) - SMOOTH // 2] - smooth, axis=-1)
    off = np.sort(np.median(off[np.isfinite(off).all(1)], axis=1))
    return float(off[: math.ceil(len(off) * (1 - TRIM))].mean()) if len(off) else None


def quiet_frames(samples: Float[ndarray, " samples"], frames: int) -> Bool[ndarray, " frames"]:
    """Which of the first `frames` video frames lie inside a pause of the sound (16 kHz, -1..1), QUIET_MARGIN from speech.

    Frames are quiet if they are not speech (see audio.speech_level), as in the footage report.
    """
    hop = SAMPLE_RATE // FPS
    padded = np.pad(samples[: frames * hop], (0, max(0, frames * hop - len(samples))))
    speech = speech_frames(padded.reshape(frames, hop))
    return ~np.convolve(speech, np.ones(2 * QUIET_MARGIN + 1), "same").astype(bool)
