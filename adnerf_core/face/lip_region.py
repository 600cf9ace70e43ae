"""The region of the face that the lips can move: the skin around the mouth, the chin, and the throat below it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from adnerf_core.face.landmarks import CHIN, EAR_LOBES, JAW
from adnerf_core.face.lip_pca import LIPS

UPPER_EDGE = (207, 205, 203, 1, 423, 425, 427)
"""Upper edge of the region, from the right cheek beside the corner of the mouth over the tip of the nose to the left cheek. There and above,
speech changes the colours of footage by 1 to 4 steps of 255 (standard deviation, four subjects), and a rendering errs by more."""

JAW_ENDS = (150, 379)
"""The landmarks between which the region follows the jaw. From one extreme of speech to the other, these two move by .045 to .065 head
units, the chin by .1, and the jaw beside the ear lobes by .02."""

CALM_EDGE = (123, 117, 118, 119, 195, 348, 347, 346, 352)
"""Upper edge of the lower face, from the right cheek over the cheekbones below the lids and the back of the nose to the left cheek. On the
reference clip speech moves these points by .005 head units (standard deviation), half a pixel at 512 px, and the lips by up to .037."""

REACH_QUANTILE = 0.995
"""Quantile of the jaw's distance from the mouth over the frames that counts as its farthest: a single stray detection does not."""

JAW_MARGIN, CHIN_MARGIN = 0.04, 0.27
"""Distance of the outline from the farthest jaw line at the height of the ear lobes and below the chin, head units; between them it rises.
Below the chin the outline holds the shadow that the chin casts on the throat, which moves with it. With 0.2, the tip of a beard that hangs
low in the footage showed below a shut mouth."""

THROAT_DEPTH = 0.3
"""How far the throat lies behind the chin where the outline crosses it, head units: about 3 cm."""


def lip_region(canonical_landmarks: Float[np.ndarray, "frames 478 3"]) -> Float[np.ndarray, "points 3"]:
    """Returns the closed outline of what the lips of a person can move.

    The region in a frame is the inside of the outline, projected with the frame's pose. It depends on all frames together: a mouth that
    is shut may be wide open in the footage that is covered.

    Args:
        canonical_landmarks: landmarks in the head's frame, head units, in frames that show the person speak; without NaN.

    Returns:
        The corners in the head's frame, head units: along the jaw between JAW_ENDS from right to left, then back along UPPER_EDGE.
    """
    return _outline(canonical_landmarks, JAW_ENDS, UPPER_EDGE)


def lower_face(canonical_landmarks: Float[np.ndarray, "frames 478 3"]) -> Float[np.ndarray, "points 3"]:
    """Returns the closed outline of the lower face up to ear lobes and cheekbones, which holds lip_region; see there."""
    return _outline(canonical_landmarks, EAR_LOBES, CALM_EDGE)


def _outline(
    landmarks: Float[np.ndarray, "frames 478 3"], ends: tuple[int, int], upper_edge: tuple[int, ...]
) -> Float[np.ndarray, "points 3"]:
    """Returns an outline that lies around the farthest jaw line between two landmarks, and is closed by `upper_edge`."""
    middle = np.median(landmarks, axis=0)
    jaw = list(JAW[JAW.index(ends[0]) : JAW.index(ends[1]) + 1])
    centre = middle[list(LIPS), :2].mean(0)
    offset = landmarks[:, jaw, :2] - centre
    direction = middle[jaw, :2] - centre
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    reach = np.quantile((offset * direction).sum(-1), REACH_QUANTILE, axis=0)
    low = middle[list(EAR_LOBES), 1].mean()
    share = np.clip((low - middle[jaw, 1]) / (low - middle[CHIN, 1]), 0, 1)[:, None]  # 0 at the lobes, 1 at the chin
    share **= 3  # the shadow lies below the chin, not beside the jaw
    edge = centre + direction * (reach[:, None] + JAW_MARGIN + share * (CHIN_MARGIN - JAW_MARGIN))
    lower = np.concatenate([edge, middle[jaw, 2:] - share * THROAT_DEPTH], -1)
    return np.concatenate([lower, middle[list(upper_edge)][::-1]]).astype(np.float32)
