"""LipPca: principal components of the lip and chin landmarks. Their coefficients are the lip code, which the audio encoder predicts.

The method is the PCA of Turk and Pentland, "Eigenfaces for recognition" (1991), on landmarks in the place of pixels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

OUTER_LIP = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
CHIN = (152, 148, 176, 149, 377, 400, 378, 175, 199, 200, 18, 83, 313)
UPPER_INNER, LOWER_INNER = (82, 13, 312), (87, 14, 317)
OUTER_HEIGHT, OUTER_WIDTH = (0, 17), (61, 291)
"""Landmark indices of MediaPipe's face mesh. UPPER_INNER and LOWER_INNER are the middle of the upper and of the lower inner lip;
OUTER_HEIGHT (top, bottom) and OUTER_WIDTH (the two corners) are pairs of opposite points of the outer lip."""

LIPS = OUTER_LIP + INNER_LIP
LIP_CHIN_LANDMARKS = LIPS + CHIN
"""The landmarks that a lip code describes, in the order of LipPca.decode. The chin is included because the jaw moves it."""

PINV_RCOND = 1e-4
"""Components whose standard deviation is below this share of the largest are ignored by `encode`. Synthetic footage can have fewer
independent motions than the code has numbers; without the cut-off, float32 rounding noise would be divided by almost zero."""


def mouth_opening(landmarks: Float[np.ndarray, "n 478 axes"]) -> Float[np.ndarray, " n"]:
    """Returns the distance between the middles of the inner lips, in the unit of `landmarks` (2-D or 3-D)."""
    upper, lower = landmarks[:, UPPER_INNER].mean(1), landmarks[:, LOWER_INNER].mean(1)
    return np.linalg.norm(upper - lower, axis=-1)


def mouth_distances(landmarks: Float[np.ndarray, "n 478 axes"]) -> Float[np.ndarray, "n 3"]:
    """Returns the opening of the inner lips, the height of the outer lips and their width, in the unit of `landmarks`."""
    height, width = (np.linalg.norm(landmarks[:, a] - landmarks[:, b], axis=-1) for a, b in (OUTER_HEIGHT, OUTER_WIDTH))
    return np.stack([mouth_opening(landmarks), height, width], 1)


def lip_gap(shapes: Float[np.ndarray, "n points 3"]) -> Float[np.ndarray, " n"]:
    """Returns the height of the middle of the upper inner lip above that of the lower one; negative where a linear model crosses them.

    It leaves out the depth between the lips, of which trackers know nothing: their constant would lift small openings more than large ones.

    Args:
        shapes: LIP_CHIN_LANDMARKS in the head frame (y up), in any unit.
    """
    upper, lower = (
        shapes[:, [LIP_CHIN_LANDMARKS.index(point) for point in lip], 1].mean(1) for lip in (UPPER_INNER, LOWER_INNER)
    )
    return upper - lower


class LipPca:
    """A linear model of the lips' shape: shape(code) = mean + sum_k code_k * components_k.

    A code is in standard deviations: over the frames that the model was fitted to, each of its numbers has mean 0 and variance 1.
    Shapes are LIP_CHIN_LANDMARKS in the head frame (x to the person's left, y up, z out of the face), in head units (distance
    between the outer corners of the eyes).

    Attributes:
        mean: [points, 3], the mean shape, head units.
        components: [width, points, 3], the principal components, each scaled to one standard deviation, head units.
    """

    def __init__(self, mean: Float[np.ndarray, "points 3"], components: Float[np.ndarray, "width points 3"]):
        self.mean = np.asarray(mean, np.float32)
        self.components = np.asarray(components, np.float32)
        flat = self.components.reshape(len(self.components), -1)
        self._inverse = np.linalg.pinv(flat, rcond=PINV_RCOND).astype(np.float32)

    @classmethod
    def fit(cls, canonical_landmarks: Float[np.ndarray, "n 478 3"], width: int = 6) -> LipPca:
        """Computes the mean shape and the strongest components by a singular value decomposition.

        Args:
            canonical_landmarks: landmarks in the head frame (Track.canonical_landmarks), without NaN. Pass the valid frames of the
                training part only, or the code depends on the held-out part.
            width: number of components. Six explain 96 % of the variance of the reference clip
                (docs/decisions/0004-lip-code.md).
        """
        points = canonical_landmarks[:, LIP_CHIN_LANDMARKS].astype(np.float64)
        mean = points.mean(0)
        centred = (points - mean).reshape(len(points), -1)
        _, singular_values, directions = np.linalg.svd(centred, full_matrices=False)
        components = directions[:width] * (singular_values[:width, None] / np.sqrt(len(points)))
        return cls(mean, components.reshape(width, -1, 3))

    def encode(self, canonical_landmarks: Float[np.ndarray, "n 478 3"]) -> Float[np.ndarray, "n width"]:
        """Projects landmarks in the head frame onto the components. A frame with NaN has the code NaN."""
        centred = canonical_landmarks[:, LIP_CHIN_LANDMARKS].astype(np.float32) - self.mean
        return centred.reshape(len(canonical_landmarks), -1) @ self._inverse

    def decode(self, codes: Float[np.ndarray, "n width"]) -> Float[np.ndarray, "n points 3"]:
        """Returns the shapes (LIP_CHIN_LANDMARKS, head frame, head units) that codes describe."""
        return self.mean + np.tensordot(codes.astype(np.float32), self.components, 1)

    def opening(self, codes: Float[np.ndarray, "n width"]) -> Float[np.ndarray, " n"]:
        """Returns how far codes open the mouth, as a camera in front of the face sees it, head units; 0 where the lips touch."""
        return lip_gap(self.decode(codes)).clip(min=0)

    @property
    def opening_spread(self) -> float:
        """Standard deviation of the gap between the lips in the frames that the model was fitted to, head units."""
        # The gap is linear in codes, which are uncorrelated with variance 1 in these frames.
        return float(np.linalg.norm(lip_gap(self.components)))
