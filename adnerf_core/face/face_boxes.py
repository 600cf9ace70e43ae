"""Boxes around faces and lips, from landmarks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from adnerf_core.face.landmarks import NOSE_BRIDGE

CHIN = 152


def face_rect(landmarks: Float[ndarray, "478 2"], size: int) -> tuple[int, int, int, int]:
    """The face's rectangle (x, y, width, height), px, within a picture of `size` px, from landmarks (x, y).

    Around the bridge of the nose: half as wide again as the face, and as high as from the bridge to below the chin, both ways.
    """
    x, y = landmarks[NOSE_BRIDGE]
    wide = 1.5 * (landmarks[:, 0].max() - landmarks[:, 0].min()) / 2
    high = 1.15 * (landmarks[CHIN, 1] - y)
    left, top, right, bottom = np.array([x - wide, y - high, x + wide, y + high]).round().astype(int).clip(0, size)
    return int(left), int(top), int(right - left), int(bottom - top)
