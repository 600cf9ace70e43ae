"""The region of the face that the lips can move: the skin around the mouth, the chin and the throat below it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from adnerf_core.face.landmarks import CHIN, EAR_LOBES, JAW
from adnerf_core.face.lip_pca import LIPS

UPPER_EDGE = (207, 205, 203, 1, 423, 425, 427)
"""The upper edge of the region: from the right cheek beside the corner of the mouth over the tip of the nose to the left cheek. On four
subjects the lips change the colours of the footage there, and above, by 3 steps of 255 or less (standard deviation); what is
rendered there errs by more."""

JAW_ENDS = (136, 365)
"""The ends of the part of the jaw that the region follows, on either side between the corner of the jaw and the chin. The lips' motion moves
them by .05 head units from one extreme to the other, and the ear lobes by .02."""

REACH_QUANTILE = 0.995
"""Quantile of the jaw's distance from the mouth over the frames that counts as its farthest: a single stray detection does not."""

JAW_MARGIN, CHIN_MARGIN = 0.04, 0.32
"""Distance of the outline from the farthest jaw line at the height of the ear lobes and below the chin, head units; between them it rises.
At the sides it holds the soft edge of the cheek; below the chin it holds the shadow that the chin casts on the throat, which moves with
it."""

THROAT_DEPTH = 0.3
"""How far the throat lies behind the chin where the outline crosses it, head units: about 3 cm."""


def lip_region(canonical_landmarks: Float[np.ndarray, "frames 478 3"]) -> Float[np.ndarray, "points 3"]:
    """Returns the closed outline of what the lips of a person can move.

    The region in a frame is the inside of the outline, projected with the frame's pose. It depends on all frames together: a mouth that
    is shut may be wide open in the footage that is covered.

    Args:
        canonical_landmarks: landmarks in the head's frame, head units, in frames that show the person speak; without NaN.

    Returns:
        The corners in the head's frame, head units: along the jaw between JAW_ENDS, from right to left, then back along UPPER_EDGE.
    """
    middle = np.median(canonical_landmarks, axis=0)
    jaw = list(JAW[JAW.index(JAW_ENDS[0]) : JAW.index(JAW_ENDS[1]) + 1])
    centre = middle[list(LIPS), :2].mean(0)
    offset = canonical_landmarks[:, jaw, :2] - centre
    direction = middle[jaw, :2] - centre
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    reach = np.quantile((offset * direction).sum(-1), REACH_QUANTILE, axis=0)
    low = middle[list(EAR_LOBES), 1].mean()
    share = np.clip((low - middle[jaw, 1]) / (low - middle[CHIN, 1]), 0, 1)[:, None]  # 0 at the lobes, 1 at the chin
    share **= 3  # the shadow lies below the chin, not beside the jaw
    edge = centre + direction * (reach[:, None] + JAW_MARGIN + share * (CHIN_MARGIN - JAW_MARGIN))
    lower = np.concatenate([edge, middle[jaw, 2:] - share * THROAT_DEPTH], -1)
    return np.concatenate([lower, middle[list(UPPER_EDGE)][::-1]]).astype(np.float32)
