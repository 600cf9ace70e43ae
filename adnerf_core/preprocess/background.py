"""The clean plate: the background without the person."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from jaxtyping import Float, UInt8

PLATE_FRAMES = 60
"""Frames, evenly spread over the footage, that the plate is made of. They are all in memory at once; a median of 60 is hardly
improved by more, while the places that the person uncovers are shown by frames from all over the footage."""

PERSON_DISTANCE = 0.02
"""How far from the person a pixel must be to count as background, in edges of the picture: soft edges and shadows of contact stay
out."""

PERSON_COVERAGE = 0.1
"""Coverage by the person, 0..1, from which a pixel belongs to it for this purpose."""


def clean_plate(
    frames: Iterable[tuple[np.ndarray, np.ndarray]],
) -> tuple[UInt8[np.ndarray, "size size 3"], float]:
    """Computes the background as the per-pixel median over the frames in which the person is far enough away.

    Args:
        frames: a few dozen pairs of a picture, [size, size, 3] uint8, and its person mask, [size, size], 0..1.

    Returns:
        The plate, and the share of it that no frame shows, which is filled smoothly from around.
    """
    pictures, masks = [], []
    for picture, person in frames:
        distance = cv2.distanceTransform((person < PERSON_COVERAGE).astype(np.uint8), cv2.DIST_L2, 5)
        pictures.append(picture)
        masks.append(distance > PERSON_DISTANCE * len(picture))
    stack, clear = np.stack(pictures), np.stack(masks)
    stack[~clear] = 255  # sorted last, behind the clear ones
    stack.sort(axis=0)
    middle = np.maximum(clear.sum(0) - 1, 0) // 2
    plate = np.take_along_axis(stack, middle[None, ..., None], axis=0)[0].astype(np.float32)
    hole = ~clear.any(0)
    return np.rint(fill(plate, hole)).clip(0, 255).astype(np.uint8), float(hole.mean())


def fill(plate: Float[np.ndarray, "size size 3"], hole: np.ndarray) -> Float[np.ndarray, "size size 3"]:
    """Fills a hole smoothly by the pull-push method (Gortler et al., "The Lumigraph", 1996).

    A pyramid of averages, weighted by what is known, is built down to 2 px; on the way back up, each level keeps its known
    part and takes the rest from the coarser level.
    """
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
