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


MOVING_RANGE = 30
"""Range of the middle half of a place's values, grey levels, from which it moves, such as a screen or leaves: their median shows nothing
that ever was. Noise, compression and a flickering lamp stay below it."""

MOVING_REACH = 0.01
"""How far around such a place the plate is taken from one frame, in edges of the picture, so that what moves keeps its outline."""

PLATE_ROWS = 16
"""Rows of the plate that are computed at a time: those of all pictures fit into a processor's cache."""

MAX_CORNERS, CORNER_QUALITY = 300, 0.01
"""Corners of the background that are matched to align two pictures: their largest number, and smallest strength over the strongest's."""

MIN_ALIGNED = 0.2
"""Share of the pictures that must be aligned: with fewer, there is too little to see in the background, and they are used as they are."""

MIN_MATCHES, MIN_INLIERS, REPROJECTION_PX = 12, 0.4, 1.5
"""Corners that must be matched, the share of them that must agree on one motion, and how closely, px, for a picture to be used."""


def clean_plate(
    frames: Iterable[tuple[np.ndarray, np.ndarray]], align: bool = False
) -> tuple[UInt8[np.ndarray, "size size 3"], float, float]:
    """Computes the background from the frames in which the person is far enough away.

    It is the median over these frames; where the background moves, it is that of the first of them, so that the plate shows a
    moment that was.

    Args:
        frames: a few dozen pairs of a picture, [size, size, 3] uint8, and its person mask, [size, size], 0..1. The first is the one
            that the plate looks like.
        align: whether the camera moves: the pictures are moved to where it stands in the first one.

    Returns:
        The plate, the share of it that no frame shows, which is filled smoothly from around, and the share that moves.
    """
    pictures, masks = [], []
    for picture, person in frames:
        distance = cv2.distanceTransform((person < PERSON_COVERAGE).astype(np.uint8), cv2.DIST_L2, 5)
        pictures.append(picture)
        masks.append(distance > PERSON_DISTANCE * len(picture))
    if align:
        pairs = [(pictures[0], masks[0])]
        pairs += [_aligned(*pairs[0], *pair) for pair in zip(pictures[1:], masks[1:], strict=True)]
        found = [pair for pair in pairs if pair is not None]
        if len(found) > MIN_ALIGNED * len(pairs):
            pictures, masks = zip(*found, strict=True)
    clear = np.stack(masks)
    seen = clear.sum(0)
    first, middle, spread = (np.empty_like(pictures[0]) for _ in range(3))
    for top in range(0, len(clear[0]), PLATE_ROWS):
        rows = slice(top, top + PLATE_ROWS)
        stack, shown = np.stack([picture[rows] for picture in pictures]), clear[:, rows]
        first[rows] = np.take_along_axis(stack, shown.argmax(0)[None, ..., None], axis=0)[0]
        stack |= ~shown[..., None] * np.uint8(255)  # sorted last, behind the clear ones
        stack.sort(axis=0)
        last = np.maximum(seen[rows] - 1, 0)
        quarter, middle[rows], three_quarters = (
            np.take_along_axis(stack, (last * n // 4)[None, ..., None], axis=0)[0] for n in (1, 2, 3)
        )
        spread[rows] = three_quarters - quarter
    moving = (spread.max(-1) > MOVING_RANGE) & (seen > 3)
    reach = 2 * round(MOVING_REACH * len(moving)) + 1
    around = cv2.dilate(cv2.medianBlur(moving.astype(np.uint8), 5), np.ones((reach, reach), np.uint8)) > 0
    plate = np.where(around[..., None], first, middle).astype(np.float32)
    hole = seen == 0
    made = np.rint(fill(plate, hole)).clip(0, 255).astype(np.uint8)
    return made, float(hole.mean()), float((around & ~hole).mean())


def _aligned(
    first: np.ndarray, first_clear: np.ndarray, picture: np.ndarray, clear: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Moves a picture, and where its background is seen, to the camera of the first one; None if they do not match."""
    before, after = (cv2.cvtColor(each, cv2.COLOR_RGB2GRAY) for each in (first, picture))
    corners = cv2.goodFeaturesToTrack(before, MAX_CORNERS, CORNER_QUALITY, 5, mask=first_clear.astype(np.uint8))
    if corners is None:
        return None
    moved, status, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(21, 21), maxLevel=4)
    at = moved[:, 0].round().astype(int)
    inside = (status[:, 0] == 1) & (at >= 0).all(1) & (at < len(clear)).all(1)
    inside[inside] = clear[at[inside, 1], at[inside, 0]]
    if inside.sum() < MIN_MATCHES:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(moved[inside], corners[inside], ransacReprojThreshold=REPROJECTION_PX)
    if matrix is None or inliers.mean() < MIN_INLIERS:
        return None
    size = clear.shape[1], clear.shape[0]
    shown = cv2.warpAffine(clear.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_LINEAR), shown


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
