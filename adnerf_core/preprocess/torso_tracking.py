"""Motion of the upper body, as a similarity transform per frame, from features of the clothes.

The torso's motion is not a function of the head pose: on real footage the best prediction from the pose leaves 1.5 px (at
512 px) of sway in each direction, which blurs the collar. So the torso is tracked, and rendered, as a separate body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.signal import savgol_filter

from adnerf_core.config import FPS
from adnerf_core.face.landmarks import RIGID_LANDMARKS

MAX_FEATURES = 200
"""Features that are tracked at most. A similarity has four parameters; 200 points determine it well, and tracking stays cheap."""

MIN_FEATURES, MIN_INLIERS = 10, 0.3
"""Number of tracked features, and share of them that must agree on one motion, for a frame to be used. With fewer, a wrinkle of
the cloth or a hand can pass for the motion of the body."""

FEATURE_QUALITY = 0.01
"""Smallest corner strength over that of the strongest corner (goodFeaturesToTrack's own usual value)."""

FEATURE_SPACING = 80
"""Edge of the picture over the distance between features: 6 px at 512 px, so that they spread over the clothes."""

REPROJECTION_PX = 2.0
"""Largest distance of an inlier from the common motion, px at 512 px: what wrinkles move by themselves."""

REFERENCE_EDGE = 512
"""Edge of the picture, px, to which the distances in px refer."""

MIN_TRACKED = 0.5
"""Share of usable frames below which the torso has too little texture. Its motion is then left at zero, and the torso follows
the head pose alone."""

SMOOTHING = 5
"""Frames in the window of the smoothing (quadratic Savitzky-Golay): a fifth of a second, shorter than any sway."""


def track_torso(
    frames: Iterable[int],
    count: int,
    reference: int,
    picture: Callable[[int], UInt8[np.ndarray, "size size"]],
    torso: Bool[np.ndarray, "size size"],
    progress: Callable[[int], None] = lambda k: None,
    guesses: Mapping[tuple[int, int], Float[np.ndarray, "2 3"]] | None = None,
) -> Float[np.ndarray, "frames 4"]:
    """Estimates the motion of the torso relative to a reference frame.

    Each row (x, y, angle, log scale) says that a point p of the reference frame appears at scale * rotate(p, angle) + (x, y).
    Positions run from -1 to 1 across the picture, y down; the angle is in rad, clockwise in the picture.

    Args:
        frames: the indices of the frames that can be read.
        count: the number of all frames.
        reference: the index of the reference frame.
        picture: reads a frame, grey.
        torso: where features are detected in the reference frame.
        progress: called with the index of each frame that is done.
        guesses: for each take (its first frame and the one after the last) about how its pictures differ from the reference frame,
            see head_similarity(). One take that does not differ by default.

    Returns:
        A row per frame; gaps are interpolated within a take, and a take without any match keeps its guess. All zeros if the torso
        cannot be tracked.
    """
    frames, guesses = list(frames), guesses or {(0, count): np.eye(2, 3)}
    motion = np.full((count, 4), np.nan)
    first = picture(reference)
    size = first.shape[0]
    spacing = max(3, size // FEATURE_SPACING)
    points = cv2.goodFeaturesToTrack(first, MAX_FEATURES, FEATURE_QUALITY, spacing, mask=torso.astype(np.uint8))
    if points is None or len(points) < MIN_FEATURES:
        return np.zeros((count, 4), np.float32)
    readable = 0
    for (start, end), guess in guesses.items():
        last = guess
        for k in frames:
            if start <= k < end:
                matrix = _match(first, picture(k), points, last)
                readable += 1
                progress(k)
                if matrix is not None:
                    last = matrix
                    motion[k] = _similarity_params(matrix, size)
    if np.isfinite(motion[:, 0]).sum() < MIN_TRACKED * max(1, readable):
        return np.zeros((count, 4), np.float32)
    return _filled(motion, {take: _similarity_params(guess, size) for take, guess in guesses.items()})


def _filled(
    motion: Float[np.ndarray, "frames 4"], guesses: Mapping[tuple[int, int], Sequence[float]]
) -> Float[np.ndarray, "frames 4"]:
    """Interpolates and smooths the motion within each take; frames outside all takes are at rest."""
    out = np.zeros(motion.shape, np.float32)
    for (start, end), guess in guesses.items():
        part, at = motion[start:end], np.arange(end - start)
        tracked = np.isfinite(part[:, 0])
        if not tracked.any():
            out[start:end] = guess
            continue
        filled = np.stack([np.interp(at, at[tracked], part[tracked, i]) for i in range(4)], -1)
        out[start:end] = savgol_filter(filled, SMOOTHING, 2, axis=0) if len(at) >= SMOOTHING else filled
    return out


def head_similarity(
    landmarks: Float[np.ndarray, "frames landmarks 3"], reference: int, take: tuple[int, int]
) -> Float[np.ndarray, "2 3"]:
    """Returns the similarity (px) that takes the head in the reference frame to the median head of the first second of a take.

    It tells how another camera position or framing moves the whole picture, so that features are looked for where they are.
    """
    points = landmarks[take[0] : take[1], RIGID_LANDMARKS, :2]
    points = points[np.isfinite(points[:, 0, 0])][:FPS]
    if not len(points):
        return np.eye(2, 3)
    matrix, _ = cv2.estimateAffinePartial2D(landmarks[reference, RIGID_LANDMARKS, :2], np.median(points, axis=0))
    return matrix if matrix is not None else np.eye(2, 3)


def _match(first: np.ndarray, now: np.ndarray, points: np.ndarray, guess: np.ndarray) -> np.ndarray | None:
    """The 2x3 similarity matrix from `points` of `first` to their positions in `now`; None if too few agree on one.

    The search starts from the positions that `guess`, the motion of an earlier frame, predicts.
    """
    size = first.shape[0]
    window = max(9, size // 24) | 1  # as in face/tracking.py
    predicted = cv2.transform(points, guess).astype(np.float32)
    moved, status, _ = cv2.calcOpticalFlowPyrLK(
        first, now, points, predicted, winSize=(window, window), maxLevel=3, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    # A feature at the edge of the picture may have left it.
    good = (status[:, 0] > 0) & (moved[:, 0] > 2).all(-1) & (moved[:, 0] < size - 3).all(-1)
    if good.sum() < MIN_FEATURES:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        points[good], moved[good], ransacReprojThreshold=REPROJECTION_PX * size / REFERENCE_EDGE
    )
    return matrix if matrix is not None and inliers.mean() > MIN_INLIERS else None


def _similarity_params(matrix: np.ndarray, size: int) -> tuple[float, float, float, float]:
    """Converts a 2x3 similarity in px to (x, y, angle, log scale) about the picture's centre, in half edges."""
    center = np.array([size / 2, size / 2])
    shift = (matrix[:, :2] @ center + matrix[:, 2] - center) / (size / 2)
    return shift[0], shift[1], np.arctan2(matrix[1, 0], matrix[0, 0]), np.log(np.hypot(matrix[0, 0], matrix[1, 0]))
