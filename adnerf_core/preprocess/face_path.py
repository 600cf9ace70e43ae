"""Where the person's face is, so that the tracker follows it and no other one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS
from adnerf_core.face.tracking import FaceTracker
from adnerf_core.preprocess.people import Face

MAX_DISTANCE = 0.75
"""Distance of the mesh's middle from that of the detector's box, in heights of the box, from which it is the mesh of another face: the
box lies a little lower, and is interpolated between two looks."""

WINDOW = 1.3
"""Half edge of the window that the tracker sees if there are other faces, in heights of the face: hair and chin are inside, and with
them the head's motion between two looks."""

MAX_GAP = 2 * FPS
"""Frames to the nearest look beyond which nothing is said about the place of the face."""


@dataclass(frozen=True)
class FacePath:
    """The boxes of the person's face at the looks: rows (frame, x of the middle, y of the middle, height), px of the crop in the footage.

    `scale` is the number of those px for one of the frames that are tracked.
    """

    rows: Sequence[Sequence[float]]
    scale: float = 1.0

    @classmethod
    def of(cls, members: Sequence[Face], scale: float, crop: tuple[int, int, int]) -> FacePath:
        """Returns the path of a person's faces, whose boxes are in px of the source; the footage is `scale` times as large."""
        rows = []
        for face in members:
            for frame, (x, y, w, h) in zip(face.frames, face.boxes, strict=True):
                middle = scale * (x + w / 2) - crop[0], scale * (y + h / 2) - crop[1]
                rows.append((float(frame), *middle, scale * h))
        return cls(rows)

    def as_list(self) -> list[list[float]]:
        """The rows, for JSON."""
        return [[round(float(value), 1) for value in row] for row in self.rows]

    def at(self, frame: int) -> tuple[float, float, float] | None:
        """Returns the middle (x, y) and the height of the face in a frame, px of the frame; None if no look is near."""
        rows = np.array(self.rows)
        distance = np.abs(rows[:, 0] - frame)
        if distance.min() > MAX_GAP:
            return None
        after = int(np.searchsorted(rows[:, 0], frame))
        if 0 < after < len(rows) and rows[after, 0] - rows[after - 1, 0] > MAX_GAP:
            rows = rows[[distance.argmin()]]  # somebody who has left may come back elsewhere
        x, y, height = (float(np.interp(frame, rows[:, 0], rows[:, i])) / self.scale for i in (1, 2, 3))
        return x, y, height

    def only(self, tracker: FaceTracker, first: int, crowded: bool) -> FaceTracker:
        """Returns a tracker of the frames from `first` on that finds no other face; if `crowded`, it does not see any other."""
        return _OneFace(tracker, self, first, crowded)


class _OneFace:
    """A FaceTracker that neither follows nor returns other faces."""

    def __init__(self, tracker: FaceTracker, path: FacePath, first: int, crowded: bool):
        self._tracker, self._path, self._next, self._crowded = tracker, path, first, crowded

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        place = self._path.at(self._next)
        self._next += 1
        if place is None:
            return self._tracker(frame)
        points = self._tracker(_window(frame, *place) if self._crowded else frame)
        if points is None:
            return None
        middle = (points[:, :2].min(0) + points[:, :2].max(0)) / 2
        return points if np.linalg.norm(middle - place[:2]) < MAX_DISTANCE * place[2] else None

    def close(self) -> None:
        self._tracker.close()


def _window(frame: np.ndarray, x: float, y: float, height: float) -> np.ndarray:
    """The frame, grey outside the window around a face."""
    reach = WINDOW * height
    rows = slice(max(0, int(y - reach)), max(0, int(y + reach)))
    cols = slice(max(0, int(x - reach)), max(0, int(x + reach)))
    seen = np.full_like(frame, 128)
    seen[rows, cols] = frame[rows, cols]
    return seen
