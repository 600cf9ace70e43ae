"""The clean plate: what stands behind the person."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

PLATE_FRAMES = 60
"""Frames, evenly spread, that the plate is made of: bounded memory whatever the length."""
CLEAR = 0.02
"""Share of the picture's edge that a pixel must lie away from the person, so that soft edges and shadows stay out."""


def clean_plate(
    frames: Iterable[tuple[np.ndarray, np.ndarray]],
) -> tuple[UInt8[np.ndarray, "size size 3"], float]:
    """The background without the person, and the share of it that no frame shows (filled in smoothly).

    frames: a few dozen pairs of a picture, [size, size, 3] uint8, and its person mask, [size, size] 0..1. Each pixel is the
    median over the frames in which it is clear of the person.
    """
    pictures, clear = [], []
    for picture, person in frames:
        distance = cv2.distanceTransform((person < 0.1).astype(np.uint8), cv2.DIST_L2, 5)
        pictures.append(picture)
        clear.append(distance > CLEAR * len(picture))
    stack, seen = np.stack(pictures), np.stack(clear)
    stack[~seen] = 255  # sorts last
    stack.sort(axis=0)
    middle = np.maximum(seen.sum(0) - 1, 0) // 2
    plate = np.take_along_axis(stack, middle[None, ..., None], axis=0)[0].astype(np.float32)
    hole = ~seen.any(0)
    return np.rint(fill(plate, hole)).clip(0, 255).astype(np.uint8), float(hole.mean())


def fill(plate: Float[np.ndarray, "size size 3"], hole: np.ndarray) -> Float[np.ndarray, "size size 3"]:
    """Fills a hole smoothly: ever coarser weighted averages, the finest that is known at a pixel wins."""
    weight = (~hole).astype(np.float32)
    if not weight.any():
        return plate
    levels = [(plate * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 2:
        color, known = levels[-1]
        half = (color.shape[1] // 2, color.shape[0] // 2)
        levels.append(tuple(cv2.resize(level, half, interpolation=cv2.INTER_AREA) for level in (color, known)))
    color, known = levels.pop()
    filled = color.sum((0, 1)) / known.sum() * np.ones_like(color)
    for color, known in reversed(levels):
        filled = cv2.resize(filled, color.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        filled = color + (1 - known[..., None]) * filled
    return filled
