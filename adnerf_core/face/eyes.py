"""How open the eyes are and where they look, from landmarks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from adnerf_core.face.landmarks import IRISES, LEFT_EYE, RIGHT_EYE

MAX_SHUT_RATIO = 0.5
"""Largest aspect ratio of shut eyes over that of wide ones. If nobody blinks in the footage, the smallest ratio observed is still
that of open eyes; shut lids measure at most half of wide ones."""

WIDE_QUANTILE, SHUT_QUANTILE = 0.9, 0.005
"""Quantiles of the aspect ratio that count as wide and as shut: eyes are open most of the time, while a blink every four
seconds has its eyes fully shut in about one frame of a hundred."""

BLINK_RATIO = 0.7
"""Share of the aspect ratio of wide eyes below which one frame is enough for a blink. Lids that follow the gaze stay above it; a blink of
the reference clip goes down to .4."""


def eye_aspect_ratio(landmarks: Float[ndarray, "frames landmarks dims"]) -> Float[ndarray, " frames"]:
    """Distance of the lids over the length of the eye, mean of both eyes: about 0.3 if open, 0.1 if shut."""
    return eye_aspect_ratios(landmarks).mean(-1)


def eye_aspect_ratios(landmarks: Float[ndarray, "frames landmarks dims"]) -> Float[ndarray, "frames 2"]:
    """Distance of the lids over the length of the eye, of the right and of the left eye.

    For each eye it is the mean distance of three pairs of points on the lids, divided by the distance of the corners (after
    Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks", 2016, who use two pairs). The landmarks may
    be 2-D or 3-D.
    """

    def distance(a: int, b: int) -> Float[ndarray, " frames"]:
        return np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1)

    eyes = (RIGHT_EYE, LEFT_EYE)
    ratios = [np.mean([distance(*pair) for pair in lids], axis=0) / distance(*corners) for corners, lids in eyes]
    return np.stack(ratios, -1)


def openness(ratio: Float[ndarray, " frames"]) -> tuple[Float[ndarray, " frames"], tuple[float, float]]:
    """Scales aspect ratios to the range that the footage shows.

    Returns:
        0 (shut) to 1 (wide), and the aspect ratios of (shut, wide).
    """
    wide = float(np.quantile(ratio, WIDE_QUANTILE))
    shut = min(float(np.quantile(ratio, SHUT_QUANTILE)), MAX_SHUT_RATIO * wide)
    return np.clip((ratio - shut) / (wide - shut), 0, 1), (shut, wide)


def has_blink(ratio: Float[ndarray, " frames"]) -> bool:
    """Tells whether the eyes shut in any frame; `ratio` is the aspect ratio, NaN where there is none."""
    return bool((ratio < BLINK_RATIO * np.nanquantile(ratio, WIDE_QUANTILE)).any())


def gaze(landmarks: Float[ndarray, "frames landmarks 3"]) -> Float[ndarray, "frames 2"]:
    """Returns where the irises are: their distance (x, y) from the middle between the eye's corners, mean of both eyes, in eye lengths.

    Args:
        landmarks: in the head's frame, so that a turned head does not change the result.
    """
    offsets = []
    for (corners, _), iris in zip((RIGHT_EYE, LEFT_EYE), IRISES, strict=True):
        outer, inner = (landmarks[:, corner, :2] for corner in corners)
        length = np.linalg.norm(inner - outer, axis=-1, keepdims=True)
        offsets.append((landmarks[:, iris, :2] - (outer + inner) / 2) / length)
    return np.mean(offsets, axis=0)
