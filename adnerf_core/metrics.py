"""Figures of merit: pure functions on pictures and landmarks. Pictures are RGB uint8, landmarks (x, y) in px."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from skimage.metrics import structural_similarity

from adnerf_core.preprocess.mesh import LEFT_EYE, RIGHT_EYE

Picture = UInt8[ndarray, "rows cols 3"]

BEST_PSNR = 99.0
"""What equal pictures are given instead of infinity, dB."""


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


def eye_aspect(landmarks: Float[ndarray, "n 478 2"]) -> Float[ndarray, " n"]:
    """Distance of the lids over the length of the eye, mean of both eyes: about .3 open, .1 shut."""

    def apart(a: int, b: int) -> Float[ndarray, " n"]:
        return np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1)

    ratios = [np.mean([apart(*pair) for pair in lids], 0) / apart(*corners) for corners, lids in (RIGHT_EYE, LEFT_EYE)]
    return np.mean(ratios, axis=0)


def jitter(points: Float[ndarray, "n points 2"]) -> float | None:
    """How much points tremble: mean length of their second difference over time, px a frame^2, each frame centred.

    Frames with NaN break the series; None where no three neighbours are left.
    """
    centred = points - points.mean(1, keepdims=True)
    lengths = np.linalg.norm(np.diff(centred, 2, axis=0), axis=-1)
    return float(np.nanmean(lengths)) if np.isfinite(lengths).any() else None
