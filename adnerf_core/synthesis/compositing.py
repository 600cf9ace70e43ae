"""Puts a rendered region into a picture of the footage: the colours agree at the edge, and the region has the picture's grain."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

RASTER_PX = 8
"""Edge of the squares over which colour differences are averaged, px: the correction is low-pass, so it needs no finer raster."""
DIFFERENCE_SCALE = 24.0
"""Differences of colour (0..255) much larger than this are no matter of light: something else is seen there, such as hair or a hand."""
IN_FRONT = (30.0, 60.0)
"""From the first difference of colour (largest channel, 0..255, after correction) on, the footage begins to stay in front in the soft edge,
and from the second on it stays entirely."""
TRUST = 8.0
"""Factor on the weight of a square of the raster, 0..1, from which it counts fully: an eighth of it lies on the edge."""


def edge_correction(
    difference: Float[ndarray, "rows cols 3"], share: Float[ndarray, "rows cols"]
) -> Float[ndarray, "rows cols 3"]:
    """Returns a smooth correction of colour: that of the soft edge, continued into the region (a membrane).

    Args:
        difference: footage minus rendered colours, 0..255.
        share: of the rendered colour in each pixel, 0..1; the edge is where it is neither 0 nor 1.
    """
    rows, cols = share.shape
    robust = 1 / (1 + np.square(difference).sum(-1) / DIFFERENCE_SCALE**2)
    weight = 4 * share * (1 - share) * robust
    raster = (-(-cols // RASTER_PX), -(-rows // RASTER_PX))
    weighted, weights = (
        cv2.resize(each, raster, interpolation=cv2.INTER_AREA) for each in (difference * weight[..., None], weight)
    )
    return cv2.resize(pull_push(weighted, weights), (cols, rows), interpolation=cv2.INTER_LINEAR)


def pull_push(
    weighted: Float[ndarray, "rows cols 3"], weights: Float[ndarray, "rows cols"]
) -> Float[ndarray, "rows cols 3"]:
    """Fills places of little weight smoothly from those around them (Gortler et al., "The lumigraph", 1996).

    Args:
        weighted: values times their weights.
        weights: 0..1.
    """
    values = weighted / np.maximum(weights, 1e-6)[..., None]
    rows, cols = weights.shape
    if min(rows, cols) <= 1:
        total = max(float(weights.sum()), 1e-6)
        return np.broadcast_to(weighted.sum((0, 1)) / total, weighted.shape).astype(np.float32)
    half = (max(1, (cols + 1) // 2), max(1, (rows + 1) // 2))
    coarse = pull_push(*(cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in (weighted, weights)))
    filled = cv2.resize(coarse, (cols, rows), interpolation=cv2.INTER_LINEAR)
    known = np.minimum(TRUST * weights, 1)[..., None]
    return filled + known * (values - filled)


def footage_in_front(difference: Float[ndarray, "rows cols 3"], share: Float[ndarray, "rows cols"]) -> ndarray:
    """Returns `share`, reduced in the soft edge where the footage shows something else than the subject, such as hair or a hand.

    Args:
        difference: footage minus rendered colours after correction, 0..255.
        share: of the rendered colour, 0..1. Where it is 1 the lips move, and a difference means nothing.
    """
    low, high = IN_FRONT
    other = np.clip((cv2.GaussianBlur(np.abs(difference).max(-1), (0, 0), 1.5) - low) / (high - low), 0, 1)
    return share * (1 - other * (1 - share))
