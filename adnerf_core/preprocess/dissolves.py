"""Finds dissolves: from a title, or another framing, by how much changes; between two takes of one framing by what becomes less sharp."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import binary_dilation

THUMBNAIL = (64, 48)
"""Size of the thumbnails that are compared, px: too small for the motion of lips to matter."""

DISSOLVE_REACHES = (6, 12, 20)
"""Half-lengths, frames, of the stretches that are compared to find dissolves, which take half a second to two seconds."""

DISSOLVE_LEVELS, DISSOLVE_BEND = 8.0, 0.16
"""In a dissolve the picture in the middle of a stretch is the mean of those at both ends. It is one if both ends differ by so many grey
levels on average, and the middle differs from their mean by less than this share of that (docs/footage.md)."""

MIN_UNEXPLAINED = 7.0
"""Difference of both ends, grey levels, that must be left after one of them has been shifted, or made brighter or darker, to fit the other:
a moving camera and a changing exposure change all pixels evenly too (docs/footage.md)."""

MAX_GAIN = 1.5
"""Largest change of the exposure in that time; a larger one is a fade."""

DETAIL = (192, 144)
"""Size of the grey pictures whose detail is measured, px: the least in which two heads that are a few pixels apart have two outlines."""

CELLS = (8, 6)
"""Columns and rows of the cells in which detail is measured."""

CELL_LEVELS, MIN_CELLS = 6.0, 6
"""Difference of the thumbnails, grey levels, from which a cell shows something else at the other end of a stretch, and the number of such
cells from which two takes are told apart: fewer are a mouth, or a hand."""

LEAST_DETAIL = 0.3
"""Detail that a cell has at least in such a comparison, grey levels: what is left of noise."""

DIP, CELLS_THAT_DIP = 0.91, 0.7
"""In the middle of a dissolve two pictures show through each other, each at half its contrast: detail falls to this share or less of that
at both ends, in this share of the cells that differ (docs/footage.md)."""

LESS_THAN_BOTH = 0.97
"""Detail in the middle over that of the end which has less: it is 1 beside a cut to a title, and below 0.96 in dissolves."""

DIP_SPREADS, SPREAD_QUANTILE = 4.3, 0.2
"""By how many times the usual spread (from the median to this quantile, over the video) it must fall: pictures of a low bit rate, and of a
camera that shakes, lose detail again and again. The stretches that touch a dissolve are fewer than this quantile."""

MAX_UNEVEN = 0.45
"""How far the way that cells have gone from one end to the other may be from that of a dissolve, of which all have gone as much; of 1."""


def find_dissolves(thumbnails: UInt8[np.ndarray, "frames 48 64"]) -> Bool[np.ndarray, " frames"]:
    """Marks the frames that belong to a dissolve which changes most of the picture."""
    found = np.zeros(len(thumbnails), bool)
    for reach in DISSOLVE_REACHES:
        middles = np.zeros(len(thumbnails), bool)
        for k in range(reach, len(thumbnails) - reach):
            before, now, after = (thumbnails[at].astype(np.float32) for at in (k - reach, k, k + reach))
            change = np.abs(after - before).mean()
            if change > DISSOLVE_LEVELS and np.abs(now - (before + after) / 2).mean() < DISSOLVE_BEND * change:
                middles[k] = _unexplained(before, after) > MIN_UNEXPLAINED
        found |= binary_dilation(middles, np.ones(2 * reach + 1))
    return found


def _unexplained(before: Float[np.ndarray, "48 64"], after: Float[np.ndarray, "48 64"]) -> float:
    """The mean difference of two thumbnails, grey levels, that neither a shift nor a change of brightness explains."""
    window = cv2.createHanningWindow(THUMBNAIL, cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(before, after, window)
    shifted = cv2.warpAffine(before, np.array([[1, 0, x], [0, 1, y]]), THUMBNAIL, borderMode=cv2.BORDER_REPLICATE)
    left = []
    for candidate in (before, shifted):
        gain = float(np.vdot(candidate, after) / max(float(np.vdot(candidate, candidate)), 1.0))
        left.append(np.abs(after - np.clip(gain, 1 / MAX_GAIN, MAX_GAIN) * candidate).mean())
    return float(min(left))


def detail(half: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "6 8"]:
    """Returns how much detail each cell of a picture (RGB) has: the mean strength of its edges, grey levels."""
    gray = cv2.resize(cv2.cvtColor(half, cv2.COLOR_RGB2GRAY), DETAIL, interpolation=cv2.INTER_AREA)
    edges = cv2.convertScaleAbs(cv2.Laplacian(gray, cv2.CV_16S)).astype(np.float32)
    return cv2.resize(edges, CELLS, interpolation=cv2.INTER_AREA)


def find_double_pictures(
    thumbnails: UInt8[np.ndarray, "frames 48 64"], details: Float[np.ndarray, "frames 6 8"]
) -> Bool[np.ndarray, " frames"]:
    """Marks the frames of dissolves between two takes of one framing, in which the person is seen twice.

    Little else than the person changes in them, and by no more than it moves. But detail is less in their middle than at both ends, all
    over the person, and every cell has gone as far from one end to the other.

    Args:
        thumbnails: of all frames, grey.
        details: of all frames, see detail().
    """
    found = np.zeros(len(thumbnails), bool)
    for reach in DISSOLVE_REACHES:
        if len(thumbnails) > 2 * reach:
            middles = np.zeros(len(thumbnails), bool)
            middles[reach:-reach] = _dips(thumbnails, details, reach)
            # What a shorter stretch has found is not found again: it would be left out more widely.
            found |= binary_dilation(middles & ~found, np.ones(2 * reach + 1))
    return found


def _dips(
    thumbnails: UInt8[np.ndarray, "frames 48 64"], details: Float[np.ndarray, "frames 6 8"], reach: int
) -> Bool[np.ndarray, " middles"]:
    """Whether each frame is the middle of a dissolve, without the first and the last `reach` ones."""
    count = len(thumbnails) - 2 * reach
    dips, uneven = np.full(count, np.inf), np.full(count, np.inf)
    for k in range(count):
        before, after = thumbnails[k].astype(np.float32), thumbnails[k + 2 * reach].astype(np.float32)
        difference = after - before
        cells = _by_cell(np.abs(difference)) > CELL_LEVELS
        if cells.sum() >= MIN_CELLS:
            ends = np.maximum((details[k] + details[k + 2 * reach]) / 2, LEAST_DETAIL)
            dips[k] = np.quantile((details[k + reach] / ends)[cells], CELLS_THAT_DIP)
            least = min(float(details[at][cells].sum()) for at in (k, k + 2 * reach))
            if dips[k] < DIP and details[k + reach][cells].sum() < LESS_THAN_BOTH * least:
                uneven[k] = _unevenness(thumbnails[k : k + 2 * reach + 1], difference, cells)
    judged = np.isfinite(dips)
    if not judged.any():
        return judged
    usual, low = np.quantile(dips[judged], (0.5, SPREAD_QUANTILE))
    return (dips < min(DIP, usual - DIP_SPREADS * (usual - low))) & (uneven < MAX_UNEVEN)


def _unevenness(
    stretch: UInt8[np.ndarray, "frames 48 64"], difference: Float[np.ndarray, "48 64"], cells: Bool[np.ndarray, "6 8"]
) -> float:
    """How far the cells are from having gone a quarter, half and three quarters of the way, where a dissolve has; root mean square, of 1."""
    square, last = _by_cell(difference**2), len(stretch) - 1
    errors = []
    for at in (last // 4, last // 2, last - last // 4):
        gone = _by_cell((stretch[at].astype(np.float32) - stretch[0]) * difference) / np.maximum(square, 1e-3)
        errors.append((gone[cells] - at / last) ** 2)
    return float(np.quantile(np.sqrt(np.mean(errors, axis=0)), CELLS_THAT_DIP))


def _by_cell(picture: Float[np.ndarray, "48 64"]) -> Float[np.ndarray, "6 8"]:
    """The mean over each cell."""
    return cv2.resize(picture, CELLS, interpolation=cv2.INTER_AREA)
