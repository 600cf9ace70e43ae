"""CameraMotionDetector measures how far the background moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.preprocess.face_detector import Box

WIDTH = 320
"""Width of the pictures that are compared, px: corners of the background are still found to a fraction of a pixel, and two per
cent of the width, which are refused, are 6 px."""

KEY_DISTANCE_PX = 8.0
"""Motion of the background, px at WIDTH, after which the key picture is replaced: beyond what counts as a still camera, so that a still
camera keeps its first picture and one wrong measurement does not stay; and little enough for the corners to be tracked."""

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
"""Pictures in a row that match neither earlier picture before these are replaced, without a measurement: another shot, or nothing to
see."""

LASTING = 3
"""Measurements whose median counts: leaves in a gust move the few corners beside a large person in one picture, a camera in many."""


class CameraMotionDetector:
    """Follows the background through a video.

    Each picture is compared with a key picture, which is replaced only after the background has moved. So the errors of a
    still camera do not add up. Where the key picture does not match (the person hides what it shows), the last picture that was
    measured takes its place.

    Attributes:
        shift: how far the background got from where it started, at most, in widths of the picture; 0 for fewer than three pictures.
    """

    def __init__(self):
        self.shift = 0.0
        self._key: tuple[np.ndarray, np.ndarray] | None = None  # a picture, and the transform from the first one to it
        self._latest: tuple[np.ndarray, np.ndarray] | None = None  # of the last picture that was measured
        self._failures = 0
        self._drifts: deque[float] = deque(maxlen=LASTING)

    def add_frame(self, frame: UInt8[np.ndarray, "height width 3"], faces: Sequence[Box]) -> None:
        """Adds the next picture (RGB). People are masked out by the boxes of their faces, as far as they are known."""
        scale = WIDTH / frame.shape[1]
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        gray = _evenly_lit(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        if self._key is None or not faces:
            self._key = self._latest = gray, np.eye(3) if self._latest is None else self._latest[1]
            return
        boxes = scale * np.array(faces)
        for picture, pose in (self._key, self._latest):
            if (step := _background_step(picture, gray, boxes)) is not None:
                self._failures = 0
                self._add_step(*step, pose, gray)
                return
        self._failures += 1
        if self._failures > MAX_FAILURES:
            self._key, self._failures = (gray, self._latest[1]), 0
            self._latest = self._key

    def _add_step(self, step: np.ndarray, corners: np.ndarray, pose: np.ndarray, gray: np.ndarray) -> None:
        """Adds the transform from a picture with `pose` to the picture `gray`, measured at `corners`."""
        moved = step @ corners
        drift = float(np.median(np.linalg.norm((moved - np.linalg.inv(pose) @ corners)[:2], axis=0)))
        self._drifts.append(drift / WIDTH)
        if len(self._drifts) == LASTING:
            self.shift = max(self.shift, float(np.median(self._drifts)))
        self._latest = gray, step @ pose
        if np.median(np.linalg.norm((moved - corners)[:2], axis=0)) > KEY_DISTANCE_PX:
            self._key = self._latest


def _evenly_lit(gray: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Returns the picture divided by its local brightness."""
    local = cv2.GaussianBlur(gray, (0, 0), LOCAL_PX).astype(np.float32)
    return np.clip(gray * (128 / np.maximum(local, 16)), 0, 255).astype(np.uint8)


def _background_step(
    before: np.ndarray, after: np.ndarray, faces: Float[np.ndarray, "faces 4"]
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 corners"]] | None:
    """Measures how the background moves between two grey pictures.

    Motion is judged where corners are seen, not at the picture's edges: beside a large person the background is a strip of a few
    pixels, and a scale or a turn that it gives is wrong by many pixels at the other side.

    Returns:
        The similarity transform and the corners in `before` that follow it, (column, row, 1) px; None if it cannot be measured.
    """
    outside = np.full(before.shape, 255, np.uint8)
    for x, y, w, h in faces.astype(int).tolist():
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
    agreed = corners[tracked][inliers[:, 0] == 1, 0]
    return np.vstack([matrix, [0, 0, 1]]), np.column_stack([agreed, np.ones(len(agreed))]).T
