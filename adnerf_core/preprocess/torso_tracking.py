"""Motion of the upper body: a similarity a frame, from features of the clothes.

The torso is no function of the head's pose: on real footage the best prediction from the pose leaves 1.5 px (at 512 px) of sway
in each direction, which blurs the collar. So the upper body is tracked as an individual body, as it is rendered as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.signal import savgol_filter

FEATURES = 200
FEWEST, INLIERS = 10, 0.3
"""Features, and the share of them that must agree on one motion, for a frame to be trusted."""
REPROJECTION_PX = 2.0
TRUSTED = 0.5
"""Share of trusted frames below which the torso has too little texture: it then follows the head's pose alone."""
SMOOTHING = 5
"""Frames that the motion is smoothed over (quadratic Savitzky-Golay)."""


def track_torso(
    frames: Iterable[int],
    count: int,
    reference: int,
    picture: Callable[[int], UInt8[np.ndarray, "size size 3"]],
    torso: Bool[np.ndarray, "size size"],
    progress: Callable[[int], None] = lambda k: None,
) -> Float[np.ndarray, "frames 4"]:
    """Motion of the torso against its place in frame `reference`, for `count` frames of which `frames` can be read.

    Returns a row (x, y, angle, log scale) a frame: a point p of the reference is seen at scale * rotate(p, angle) + (x, y),
    with places in -1..1 over the picture, y down, and the angle in rad, clockwise in the picture. `torso` is where features
    are looked for in the reference. All zeros where the torso cannot be tracked; gaps are interpolated.
    """
    motion = np.full((count, 4), np.nan)
    first = cv2.cvtColor(picture(reference), cv2.COLOR_RGB2GRAY)
    size = first.shape[0]
    points = cv2.goodFeaturesToTrack(first, FEATURES, 0.01, max(3, size // 80), mask=torso.astype(np.uint8))
    if points is None or len(points) < FEWEST:
        return np.zeros((count, 4), np.float32)
    guess = np.eye(2, 3)
    for k in frames:
        found = _match(first, cv2.cvtColor(picture(k), cv2.COLOR_RGB2GRAY), points, guess)
        progress(k)
        if found is not None:
            guess = found
            motion[k] = _similarity_params(found, size)
    known = np.isfinite(motion[:, 0])
    if known.sum() < TRUSTED * max(1, len(list(frames))):
        return np.zeros((count, 4), np.float32)
    at = np.arange(count)
    filled = np.stack([np.interp(at, at[known], motion[known, i]) for i in range(4)], -1)
    return (
        savgol_filter(filled, SMOOTHING, 2, axis=0).astype(np.float32)
        if count >= SMOOTHING
        else filled.astype(np.float32)
    )


def _match(first: np.ndarray, now: np.ndarray, points: np.ndarray, guess: np.ndarray) -> np.ndarray | None:
    """The 2x3 similarity that takes `points` of `first` to where they are `now`, or None where too few agree on one."""
    size = first.shape[0]
    window = max(9, size // 24) | 1
    started = cv2.transform(points, guess).astype(np.float32)
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        first, now, points, started, winSize=(window, window), maxLevel=3, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    good = (status[:, 0] > 0) & (found[:, 0] > 2).all(-1) & (found[:, 0] < size - 3).all(-1)
    if good.sum() < FEWEST:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[good], found[good], ransacReprojThreshold=REPROJECTION_PX * size / 512
    )
    return matrix if matrix is not None and inliers.mean() > INLIERS else None


def _similarity_params(matrix: np.ndarray, size: int) -> tuple[float, float, float, float]:
    """A 2x3 similarity in px as (x, y, angle, log scale) about the picture's centre, in half-edges."""
    center = np.array([size / 2, size / 2])
    moved = (matrix[:, :2] @ center + matrix[:, 2] - center) / (size / 2)
    return moved[0], moved[1], np.arctan2(matrix[1, 0], matrix[0, 0]), np.log(np.hypot(matrix[0, 0], matrix[1, 0]))
