"""CameraMotionDetector measures how far the background moves."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.preprocess.face_detector import Box

WIDTH = 320
"""Width of the pictures that are compared, px: corners of the background are still found to a fraction of a pixel, and two per
cent of the width, which are refused, are 6 px."""

KEY_DISTANCE_PX = 2.0
"""Motion of the background, px at WIDTH, after which the key picture is replaced."""

MAX_CORNERS, CORNER_QUALITY, CORNER_SPACING = 200, 0.01, 6
"""Corners of the background: their largest number, smallest strength over the strongest one's, and smallest distance, px."""

MIN_CORNERS, MIN_INLIERS = 12, 0.5
"""Number of tracked corners, and share of them that must agree on one motion, for a measurement to count."""

REPROJECTION_PX = 1.0
"""Largest distance of an inlier from the common motion, px at WIDTH."""

LOCAL_PX = 10
"""Standard deviation, px at WIDTH, of the blur by which pictures are divided: lamps that flicker, and bands of theirs that wander over a
wall, change the brightness over longer distances, and corners over shorter ones."""

MAX_FAILURES = 4
"""Pictures in a row that do not match the key picture before it is replaced, without a measurement: another shot, or nothing to see."""


class CameraMotionDetector:
    """Follows the background through a video.

    Each picture is compared with a key picture, which is replaced only after the background has moved. So the errors of a
    still camera do not add up.

    Attributes:
        shift: how far the background got from where it started, at most, in widths of the picture.
    """

    def __init__(self):
        self.shift = 0.0
        self._key: np.ndarray | None = None
        self._key_pose = np.eye(3)
        self._failures = 0

    def add_frame(self, frame: UInt8[np.ndarray, "height width 3"], face: Box | None) -> None:
        """Adds the next picture (RGB). The person is masked out by the box of the face, if one is known."""
        scale = WIDTH / frame.shape[1]
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        gray = _evenly_lit(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        if self._key is None or face is None:
            self._key = gray
            return
        step = _background_step(self._key, gray, tuple(scale * v for v in face))
        if step is None:
            self._failures += 1
            if self._failures > MAX_FAILURES:
                self._key, self._failures = gray, 0
            return
        self._failures = 0
        pose = step @ self._key_pose
        rows, columns = gray.shape
        corners = np.array([(0, 0, 1), (columns, 0, 1), (0, rows, 1), (columns, rows, 1)], float).T
        drift = np.linalg.norm((pose @ corners - corners)[:2], axis=0)
        self.shift = max(self.shift, float(np.median(drift)) / columns)
        if np.median(np.linalg.norm((step @ corners - corners)[:2], axis=0)) > KEY_DISTANCE_PX:
            self._key, self._key_pose = gray, pose


def _evenly_lit(gray: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Returns the picture divided by its local brightness."""
    local = cv2.GaussianBlur(gray, (0, 0), LOCAL_PX).astype(np.float32)
    return np.clip(gray * (128 / np.maximum(local, 16)), 0, 255).astype(np.uint8)


def _background_step(before: np.ndarray, after: np.ndarray, face: Box) -> Float[np.ndarray, "3 3"] | None:
    """The similarity transform of the background between two grey pictures; None if it cannot be measured."""
    outside = np.full(before.shape, 255, np.uint8)
    x, y, w, h = (int(v) for v in face)
    outside[max(0, y - h) :, max(0, x - w // 2) : x + w + w // 2] = 0  # hair, neck
    outside[max(0, y + h) :, max(0, x - w - w // 2) : x + 2 * w + w // 2] = 0  # shoulders
    corners = cv2.goodFeaturesToTrack(before, MAX_CORNERS, CORNER_QUALITY, CORNER_SPACING, mask=outside)
    if corners is None or len(corners) < MIN_CORNERS:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(15, 15), maxLevel=3)
    tracked = status[:, 0] == 1
    if tracked.sum() < MIN_CORNERS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        corners[tracked], moved[tracked], ransacReprojThreshold=REPROJECTION_PX
    )
    if matrix is None or inliers.mean() < MIN_INLIERS:
        return None
    return np.vstack([matrix, [0, 0, 1]])
