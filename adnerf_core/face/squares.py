"""Squares in pictures, in which networks see faces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

MARGIN = 1.5
"""Edge of the square that a network sees over the longer edge of the face's box: MediaPipe's networks are trained with it."""


@dataclass(frozen=True)
class Square:
    """A square in a picture: its centre (x, y) and edge, px, and the angle of its upper edge with the picture's, radians."""

    x: float
    y: float
    edge: float
    angle: float = 0.0

    @classmethod
    def around(cls, points: Float[np.ndarray, "n axes"], right: np.ndarray, left: np.ndarray) -> Square:
        """Returns the square with MARGIN around points, px, whose upper edge is parallel to the line from `right` to `left`.

        Args:
            points: (x, y) in the first columns.
            right, left: (x, y) of the person's right and left eye, px.
        """
        low, high = points[:, :2].min(0), points[:, :2].max(0)
        x, y = (low + high) / 2
        angle = math.atan2(left[1] - right[1], left[0] - right[0])
        return cls(float(x), float(y), MARGIN * float(np.max(high - low)), angle)

    def crop(
        self, frame: UInt8[np.ndarray, "height width 3"], pixels: int, border: int
    ) -> UInt8[np.ndarray, "{pixels} {pixels} 3"]:
        """Returns the square of a picture, upright, `pixels` high; `border` is OpenCV's rule for what lies outside the picture."""
        to_frame = self._matrix() @ np.array([(1 / pixels, 0, 0), (0, 1 / pixels, 0), (0, 0, 1)])
        return cv2.warpAffine(
            frame, to_frame, (pixels, pixels), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border
        )

    def to_frame(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Maps points of the square, whose edge is 1, to the picture, px; depths are scaled by the edge."""
        xy = points[:, :2] @ self._matrix()[:, :2].T + self._matrix()[:, 2]
        return np.column_stack([xy, points[:, 2] * self.edge])

    def _matrix(self) -> Float[np.ndarray, "2 3"]:
        """Maps the unit square to the picture, px."""
        cos, sin = self.edge * math.cos(self.angle), self.edge * math.sin(self.angle)
        return np.array([(cos, -sin, self.x - (cos - sin) / 2), (sin, cos, self.y - (sin + cos) / 2)])
