"""CameraMotionDetector measures how far the background moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from adnerf_core.preprocess.face_detector import Box

WIDTH = 320
"""Width of the pictures that are compared, px: corners of the background are still found to a fraction of a pixel, and one per
cent of the width, which is told, is 3 px."""

KEY_DISTANCE_PX = 8.0
"""Motion of the background, px at WIDTH, after which the key picture is replaced: beyond what counts as a still camera, so that a still
camera keeps its first picture and one wrong measurement does not stay; and little enough for the corners to be tracked."""

MAX_CORNERS, CORNER_QUALITY, CORNER_SPACING = 200, 0.01, 6
"""Corners of the background: their largest number, smallest strength over the strongest one's, and smallest distance, px."""

CELL_PX = 32
"""Edge of the cells, px at WIDTH, in which corners have one vote together: a pattern in one place, such as a plant or a sleeve, has many
corners and says no more than that this place moves."""

MIN_CORNERS, MIN_CELLS, MIN_AGREEING = 12, 3, 0.5
"""Number of tracked corners, number of cells whose corners agree on one motion, and share of all cells with corners that these must be,
for a measurement to count. With fewer nothing is known of the camera, and nothing is said to move."""

AT_REST = 0.5
"""Cells that are where they were at the start, over those that agree on the best motion, from which the camera is at rest: what moves is then
a person, a plant or a screen. In the middle of a zoom, or at the axis of a turn, fewer stay where they were."""

REPROJECTION_PX = 1.0
"""Largest distance of an inlier from the common motion, px at WIDTH."""

RETURN_PX = 0.5
"""Largest distance, px at WIDTH, between a corner and where it is found by following it forth and back: it is larger where somebody hides
the background."""

PERSON, PERSON_MARGIN = 0.1, 9
"""Probability of a person from which a pixel does not count as background, and edge of the dilation of what is left out, px at WIDTH."""

FACE_FOUND = 0.6
"""Share of the faces' boxes in which a person is found, from which the rest of them is taken to be found too. Else the boxes alone tell
where people are."""

LOCAL_PX = 21
"""Edge, px at WIDTH, of the three box blurs by which pictures are divided, together about a Gaussian one of 10 px: lamps that flicker, and
bands of theirs that wander over a wall, change the brightness over longer distances, and corners over shorter ones."""

MAX_FAILURES = 4
"""Pictures in a row that match neither earlier picture before these are replaced, without a measurement: another shot, or nothing to
see."""

LASTING = 3
"""Measurements whose median counts: leaves in a gust move the few corners beside a large person in one picture, a camera in many."""

FindPerson = Callable[[UInt8[np.ndarray, "height width 3"]], Float[np.ndarray, "edge edge"]]
"""Returns the probability of a person, 0..1, over a picture (RGB)."""


@dataclass(frozen=True)
class _View:
    """A picture, WIDTH px wide: RGB, evenly lit in grey, the boxes of its faces, and the transform from the first picture to it."""

    rgb: UInt8[np.ndarray, "height width 3"]
    gray: UInt8[np.ndarray, "height width"]
    faces: Float[np.ndarray, "faces 4"]
    pose: Float[np.ndarray, "3 3"]
    find_person: FindPerson | None

    @cached_property
    def corners(self) -> Float[np.ndarray, "corners 1 2"]:
        """Those of the background, (column, row) px. Most pictures are never compared with another one, and need none."""
        mask = self._background().astype(np.uint8)
        found = cv2.goodFeaturesToTrack(self.gray, MAX_CORNERS, CORNER_QUALITY, CORNER_SPACING, mask=mask)
        return np.zeros((0, 1, 2), np.float32) if found is None else found

    def _background(self) -> Bool[np.ndarray, "height width"]:
        """Marks the pixels at which no people are."""
        if self.find_person is not None:
            found = self.find_person(self.rgb).astype(np.float32)
            person = cv2.resize(found, self.gray.shape[::-1], interpolation=cv2.INTER_LINEAR) > PERSON
            faces = ~_beside_faces(self.gray.shape, self.faces)
            if not faces.any() or person[faces].mean() >= FACE_FOUND:
                return cv2.dilate((person | faces).astype(np.uint8), np.ones((PERSON_MARGIN, PERSON_MARGIN))) == 0
        return _beside_bodies(self.gray.shape, self.faces)


class CameraMotionDetector:
    """Follows the background through a video.

    Each picture is compared with a key picture, which is replaced only after the background has moved. So the errors of a
    still camera do not add up. Where the key picture does not match (the person hides what it shows), the last picture that was
    measured takes its place.

    Attributes:
        shift: how far the background got from where it started, at most, in widths of the picture; 0 if too little of it is seen, or in
            too few pictures.

    Args:
        find_person: finds people, who do not count as background, beside what the boxes of their faces tell.
    """

    def __init__(self, find_person: FindPerson | None = None):
        self.shift = 0.0
        self._find_person = find_person
        self._key: _View | None = None
        self._latest: _View | None = None  # the last picture that was measured
        self._failures = 0
        self._drifts: deque[float] = deque(maxlen=LASTING)

    def add_frame(self, frame: UInt8[np.ndarray, "height width 3"], faces: Sequence[Box]) -> None:
        """Adds the next picture (RGB). People are masked out by the boxes of their faces, as far as they are known."""
        scale = WIDTH / frame.shape[1]
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        gray = _evenly_lit(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
        boxes = scale * np.array(faces).reshape(-1, 4)

        def view(pose: Float[np.ndarray, "3 3"]) -> _View:
            return _View(small, gray, boxes, pose, self._find_person)

        if self._key is None or not faces:
            self._key = self._latest = view(np.eye(3) if self._latest is None else self._latest.pose)
            return
        for before in (self._key, self._latest):
            if (motion := _background_motion(before, gray, boxes)) is not None:
                self._failures = 0
                self._add_motion(*motion, view)
                return
        self._failures += 1
        if self._failures > MAX_FAILURES:
            self._key, self._failures = view(self._latest.pose), 0
            self._latest = self._key

    def _add_motion(
        self, pose: np.ndarray, drift_px: float, step_px: float, view: Callable[[np.ndarray], _View]
    ) -> None:
        """Adds what _background_motion() returns for a picture."""
        self._drifts.append(drift_px / WIDTH)
        if len(self._drifts) == LASTING:
            self.shift = max(self.shift, float(np.median(self._drifts)))
        self._latest = view(pose)
        if step_px > KEY_DISTANCE_PX:
            self._key = self._latest


def _evenly_lit(gray: UInt8[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Returns the picture divided by its local brightness."""
    local = gray
    for _ in range(3):
        local = cv2.blur(local, (LOCAL_PX, LOCAL_PX))
    return np.clip(gray * (128 / np.maximum(local, 16).astype(np.float32)), 0, 255).astype(np.uint8)


def _beside_faces(shape: tuple[int, int], faces: Float[np.ndarray, "faces 4"]) -> Bool[np.ndarray, "height width"]:
    """Marks what lies outside the boxes, px."""
    outside = np.ones(shape, bool)
    for x, y, w, h in faces.astype(int).tolist():
        outside[max(0, y) : max(0, y + h), max(0, x) : max(0, x + w)] = False
    return outside


def _beside_bodies(shape: tuple[int, int], faces: Float[np.ndarray, "faces 4"]) -> Bool[np.ndarray, "height width"]:
    """Marks what lies beside the people whose faces have these boxes, px."""
    outside = np.ones(shape, bool)
    for x, y, w, h in faces.astype(int).tolist():
        outside[max(0, y - h) :, max(0, x - w // 2) : max(0, x + w + w // 2)] = False  # hair, neck
        outside[max(0, y + h) :, max(0, x - w - w // 2) : max(0, x + 2 * w + w // 2)] = False  # shoulders
    return outside


def _background_motion(
    before: _View, after: UInt8[np.ndarray, "height width"], faces: Float[np.ndarray, "faces 4"]
) -> tuple[Float[np.ndarray, "3 3"], float, float] | None:
    """Measures how the background moves from an earlier picture to `after`.

    Motion is judged where corners are seen, not at the picture's edges: beside a large person the background is a strip of a few
    pixels, and a scale or a turn that it gives is wrong by many pixels at the other side.

    Returns:
        The transform from the first picture to `after`; how far the corners are from where they were in the first picture, and how far from
        where they were in `before`, px, as medians. None if it cannot be measured.
    """
    corners, moved = _tracked(before, after, faces)
    if len(corners) < MIN_CORNERS:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(corners, moved, ransacReprojThreshold=REPROJECTION_PX)
    if matrix is None:
        return None
    agree = inliers[:, 0] == 1
    agreeing = _cells(corners[agree])
    if agreeing < max(MIN_CELLS, MIN_AGREEING * _cells(corners)):
        return None
    drift = np.linalg.norm(moved - cv2.transform(corners[:, None], np.linalg.inv(before.pose)[:2])[:, 0], axis=1)
    step = np.linalg.norm(moved - corners, axis=1)
    pose = np.vstack([matrix, [0, 0, 1]]) @ before.pose
    rest = drift < REPROJECTION_PX
    if _cells(corners[rest]) >= AT_REST * agreeing:
        agree, pose = rest, np.eye(3)  # without the errors that have added up
    return pose, float(np.median(drift[agree])), float(np.median(step[agree]))


def _tracked(
    before: _View, after: UInt8[np.ndarray, "height width"], faces: Float[np.ndarray, "faces 4"]
) -> tuple[Float[np.ndarray, "corners 2"], Float[np.ndarray, "corners 2"]]:
    """Returns the corners of `before` that are found in `after`, and where, (column, row) px; none that a face hides there."""
    corners = before.corners
    if not len(corners):
        return corners[:, 0], corners[:, 0]
    options = {"winSize": (15, 15), "maxLevel": 3}
    moved, found, _ = cv2.calcOpticalFlowPyrLK(before.gray, after, corners, None, **options)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before.gray, moved, None, **options)
    good = (found[:, 0] == 1) & (returned[:, 0] == 1) & (np.linalg.norm(back - corners, axis=-1)[:, 0] < RETURN_PX)
    hide = _beside_bodies if before.find_person is None else _beside_faces
    good &= _at(hide(after.shape, faces), moved[:, 0])
    return corners[good, 0], moved[good, 0]


def _at(mask: Bool[np.ndarray, "height width"], places: Float[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """The values of a mask at (column, row), px; those beyond its edges count as at them."""
    columns, rows = np.nan_to_num(places).astype(int).T
    return mask[rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)]


def _cells(corners: Float[np.ndarray, "corners 2"]) -> int:
    """In how many cells the corners lie."""
    return len(np.unique(corners.astype(int) // CELL_PX, axis=0))
