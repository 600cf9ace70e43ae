"""Puts a rendered region into a picture of the footage: the colours agree at the edge, and the region has the picture's grain."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

RASTER_PX = 8
"""Edge of the squares over which colour differences are averaged, px: the correction is low-pass, so it needs no finer raster."""
DIFFERENCE_SCALE = 24.0
"""Differences of colour (0..255) much larger than this are no matter of light: something else is seen there, such as hair or a hand."""
IN_FRONT = (30.0, 60.0)
"""From the first difference of colour (largest channel, 0..255, after correction) on, the footage begins to stay in front in the soft edge,
and from the second on it stays entirely."""
EDGE_SLOPE = 4.0
"""Where the share of the rendered colour is below 1 - 1 / EDGE_SLOPE, the footage can stay entirely: what the lips move lies further inside.
The fields are least certain along the outline of the jaw, and leave specks there, which the footage covers."""
GRAIN_BLUR = 0.6
"""Standard deviation, px, of the blur of grain: cameras interpolate colours and coders drop the finest detail, so noise is not white."""
GRAIN_PX = 256
"""Edge of the pattern that grain is cut from; the offset is random in each frame, so that nobody sees it again."""
GRAIN_SHARE = 0.8
"""Share of the grain that is measured in the soft edge, which also holds outlines: on the reference clip it is 1.05 there and 0.84 inside."""
MAX_GRAIN = 4.0
"""Largest standard deviation of grain, 0..255: more fine detail than that is texture of the skin, which noise cannot replace."""
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
    distance = cv2.transform(np.square(difference), np.full((1, 3), DIFFERENCE_SCALE**-2, np.float32))
    weight = 4 * share * (1 - share) / (1 + distance)
    raster = (-(-cols // RASTER_PX), -(-rows // RASTER_PX))
    weighted, weights = (
        cv2.resize(each, raster, interpolation=cv2.INTER_AREA) for each in (scaled(difference, weight), weight)
    )
    return cv2.resize(pull_push(weighted, weights), (cols, rows), interpolation=cv2.INTER_LINEAR)


def scaled(colors: Float[ndarray, "rows cols 3"], factor: Float[ndarray, "rows cols"]) -> Float[ndarray, "rows cols 3"]:
    """Returns the colours times a factor for each pixel; numpy's own product along so short an axis takes several times as long."""
    return cv2.multiply(colors, cv2.merge([factor] * 3))


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


def footage_in_front(
    difference: Float[ndarray, "rows cols 3"], share: Float[ndarray, "rows cols"]
) -> Float[ndarray, "rows cols"]:
    """Returns `share`, reduced in the soft edge where the footage shows something else than the subject, such as hair or a hand.

    Args:
        difference: footage minus rendered colours after correction, 0..255.
        share: of the rendered colour, 0..1. Where it is 1 the lips move, and a difference means nothing.
    """
    low, high = IN_FRONT
    red, green, blue = cv2.split(np.abs(difference))
    largest = np.maximum(np.maximum(red, green), blue)
    largest = cv2.GaussianBlur(cv2.dilate(largest, np.ones((3, 3), np.uint8)), (0, 0), 1.5)
    other = np.clip((largest - low) / (high - low), 0, 1)
    return share * (1 - other * np.minimum(1, EDGE_SLOPE * (1 - share)))


class Grain:
    """Noise like that of the footage, fresh in each frame."""

    def __init__(self, seed: int):
        """Draws the pattern."""
        self.seed = seed
        noise = np.random.default_rng(seed).standard_normal((GRAIN_PX, GRAIN_PX), np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), GRAIN_BLUR)
        self.pattern = noise / noise.std()
        self.unit = fine_detail(self.pattern)

    def __call__(
        self,
        footage: Float[ndarray, "rows cols 3"],
        rendered: Float[ndarray, "rows cols 3"],
        share: Float[ndarray, "rows cols"],
        number: int,
    ) -> Float[ndarray, "rows cols"]:
        """Returns the grain that `rendered` lacks, for frame `number` of the video.

        Both show the same skin in the soft edge, where `share` is neither 0 nor 1; so there the footage's fine detail, less that of the
        rendered picture, is its noise.
        """
        edge = (share > 0.05) & (share < 0.95)
        if not edge.any():
            return np.zeros_like(share)
        filmed, made = (fine_detail(picture[..., 1], edge) for picture in (footage, rendered))
        strength = min(MAX_GRAIN, GRAIN_SHARE * max(0.0, filmed**2 - made**2) ** 0.5 / self.unit)
        rows, cols = np.random.default_rng((self.seed, number)).integers(0, GRAIN_PX, 2)
        pattern = np.take(self.pattern, np.arange(rows, rows + share.shape[0]), 0, mode="wrap")
        return strength * np.take(pattern, np.arange(cols, cols + share.shape[1]), 1, mode="wrap")


def fine_detail(picture: Float[ndarray, "rows cols"], where: Bool[ndarray, "rows cols"] | None = None) -> float:
    """Returns the median distance of a pixel from the mean of its surroundings: edges, which are few, do not count."""
    distance = np.abs(picture - cv2.GaussianBlur(picture, (0, 0), 1.0))
    values = distance.reshape(-1) if where is None else distance[where]
    return float(np.median(values[::4]))  # a quarter of them tells as much
