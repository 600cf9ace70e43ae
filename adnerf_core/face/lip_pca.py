"""LipPca: the shape of lips and chin as a few numbers, the code that the sound is turned into."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

OUTER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
CHIN = (152, 148, 176, 149, 377, 400, 378, 175, 199, 200, 18, 83, 313)
UPPER_INNER, LOWER_INNER = (82, 13, 312), (87, 14, 317)
OUTER_HEIGHT, OUTER_WIDTH = (0, 17), (61, 291)
"""Landmarks of MediaPipe's face mesh; the last four face one another across the mouth."""

LIPS = OUTER_LIP + INNER_LIP
LIP_CHIN_LANDMARKS = LIPS + CHIN


def mouth_opening(landmarks: Float[np.ndarray, "n 478 axes"]) -> Float[np.ndarray, " n"]:
    """Distance between the middle of the upper and of the lower inner lip, in the unit of `landmarks` (2-D or 3-D)."""
    upper, lower = landmarks[:, UPPER_INNER].mean(1), landmarks[:, LOWER_INNER].mean(1)
    return np.linalg.norm(upper - lower, axis=-1)


def mouth_distances(landmarks: Float[np.ndarray, "n 478 axes"]) -> Float[np.ndarray, "n 3"]:
    """Opening between the inner lips, height over the outer lips, and width of the mouth, in the unit of `landmarks`."""
    across = [np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) for a, b in (OUTER_HEIGHT, OUTER_WIDTH)]
    return np.stack([mouth_opening(landmarks), *across], 1)


class LipPca:
    """Principal components of de-posed lip and chin landmarks; a code is how many standard deviations along each.

    mean         [points, 3]           the mean shape, head units, head frame (x, y, z; y is up)
    directions   [width, points, 3]    one standard deviation along each component, head units
    """

    def __init__(self, mean: Float[np.ndarray, "points 3"], directions: Float[np.ndarray, "width points 3"]):
        self.mean = np.asarray(mean, np.float32)
        self.directions = np.asarray(directions, np.float32)
        self._inverse = np.linalg.pinv(self.directions.reshape(len(directions), -1), rcond=1e-4).astype(np.float32)

    @classmethod
    def fit(cls, depose: Float[np.ndarray, "n 478 3"], width: int = 6) -> LipPca:
        """The `width` strongest components of the frames given: pass those of the training part only, without NaN."""
        points = depose[:, LIP_CHIN_LANDMARKS].astype(np.float64)
        mean = points.mean(0)
        centred = (points - mean).reshape(len(points), -1)
        _, spread, components = np.linalg.svd(centred, full_matrices=False)
        directions = components[:width] * (spread[:width, None] / np.sqrt(len(points)))
        return cls(mean, directions.reshape(width, -1, 3))

    def encode(self, depose: Float[np.ndarray, "n 478 3"]) -> Float[np.ndarray, "n width"]:
        """Codes of de-posed landmarks: mean 0 and variance 1 over the frames that were fitted. NaN where NaN comes in."""
        centred = depose[:, LIP_CHIN_LANDMARKS].astype(np.float32) - self.mean
        return centred.reshape(len(depose), -1) @ self._inverse

    def decode(self, codes: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n points 3"]:
        """The points LIP_CHIN_LANDMARKS, in head units and in the head's frame, that a code stands for."""
        return self.mean + np.tensordot(codes.astype(np.float32), self.directions, 1)

    def opening(self, codes: Float[np.ndarray, "n width"]) -> Float[np.ndarray, " n"]:
        """How far apart the inner lips are, head units; below 0 where a code presses them into one another."""
        height = self.decode(codes)[..., 1]
        upper, lower = (
            [LIP_CHIN_LANDMARKS.index(landmark) for landmark in side] for side in (UPPER_INNER, LOWER_INNER)
        )
        return height[:, upper].mean(1) - height[:, lower].mean(1)
