"""Boxes around the face, from landmarks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from adnerf_core.face.landmarks import CHIN, NOSE_BRIDGE

WIDTH_FACTOR = 1.5
"""Width of the rectangle over that of the face: AD-NeRF samples 95 % of its rays here, and hair and ears belong to the head."""

HEIGHT_FACTOR = 1.15
"""Distance from the bridge of the nose to the rectangle's lower and upper edge, over that to the chin: chin and hairline are
inside, with a margin."""


def face_rect(landmarks: Float[ndarray, "478 2"], size: int) -> tuple[int, int, int, int]:
    """Returns the face's rectangle in a picture, centred on the bridge of the nose.

    Args:
        landmarks: (x, y), px.
        size: width and height of the picture, px.

    Returns:
        (x, y, width, height), px, clipped to the picture.
    """
    x, y = landmarks[NOSE_BRIDGE]
    half_width = WIDTH_FACTOR * (landmarks[:, 0].max() - landmarks[:, 0].min()) / 2
    half_height = HEIGHT_FACTOR * (landmarks[CHIN, 1] - y)
    corners = np.array([x - half_width, y - half_height, x + half_width, y + half_height])
    left, top, right, bottom = corners.round().astype(int).clip(0, size)
    return int(left), int(top), int(right - left), int(bottom - top)
