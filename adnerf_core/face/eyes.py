"""How open the eyes are, from landmarks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from adnerf_core.face.landmarks import LEFT_EYE, RIGHT_EYE


def eye_aspect_ratio(landmarks: Float[np.ndarray, "frames landmarks dims"]) -> Float[np.ndarray, " frames"]:
    """Distance of the lids over the length of the eye, mean of both eyes: about 0.3 if open, 0.1 if shut.

    For each eye it is the mean distance of three pairs of points on the lids, divided by the distance of the corners (after
    Soukupova and Cech, "Real-Time Eye Blink Detection using Facial Landmarks", 2016, who use two pairs). The landmarks may
    be 2-D or 3-D.
    """

    def distance(a: int, b: int) -> Float[np.ndarray, " frames"]:
        return np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1)

    eyes = (RIGHT_EYE, LEFT_EYE)
    ratios = [np.mean([distance(*pair) for pair in lids], axis=0) / distance(*corners) for corners, lids in eyes]
    return np.mean(ratios, axis=0)
