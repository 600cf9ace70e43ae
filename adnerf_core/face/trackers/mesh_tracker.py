"""Follows the landmarks of one face, as MediaPipe does: the network sees the square around those of the frame before."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.face.blaze_face import BlazeFace
from adnerf_core.face.landmarks import EYE_CORNERS
from adnerf_core.face.squares import Square


@runtime_checkable
class MeshNetwork(Protocol):
    """Finds the landmarks in a picture of a face; `edge` is the picture's edge, px."""

    edge: int

    def __call__(self, picture: Float[np.ndarray, "1 edge edge 3"]) -> tuple[Float[np.ndarray, "478 3"], float]:
        """Returns the landmarks, of which x and y are px of the picture, and the logit that it is a face."""


class MeshTracker:
    """A FaceTracker: it detects the face in the first frame, and again where it has lost it.

    Args:
        detect: it finds the face anew.
        mesh: it finds the landmarks.
    """

    def __init__(self, detect: BlazeFace, mesh: MeshNetwork):
        self._detect, self._mesh = detect, mesh
        self._square: Square | None = None

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "landmarks 3"] | None:
        if self._square is None:
            faces = self._detect(frame)
            if not faces:
                return None
            self._square = Square.around(faces[0].box, *faces[0].points[:2])
        square, self._square = self._square, None
        picture = square.crop(frame, self._mesh.edge, cv2.BORDER_REPLICATE)[None] * np.float32(1 / 255)
        points, logit = self._mesh(picture)
        if logit <= 0:  # as likely as not there is no face
            return None
        landmarks = square.to_frame(points / self._mesh.edge)
        self._square = Square.around(landmarks, *landmarks[list(EYE_CORNERS), :2])
        return landmarks.astype(np.float32)

    def close(self) -> None:
        """Releases the tracker's resources."""
        del self._detect, self._mesh
