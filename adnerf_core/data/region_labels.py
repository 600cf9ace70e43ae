"""Region labels: what the head field should show at each pixel of a training frame."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

BACKGROUND, HEAD, NECK, TORSO, UNCERTAIN = range(5)
"""The labels; see `region_labels`."""
FULL_COVERAGE, NO_COVERAGE = 242, 13
"""Coverage (0..255) above which a pixel surely belongs to a part, and below which it surely does not: 95 % and 5 %, as masks have soft
edges."""
MASK_MARGIN = 0.03
"""Width of the band inside the person's outline that is left unlabelled because masks err there, head units. It is 2 px of a 512 px
picture whose face has 70 px between the outer eye corners. Unmeasured."""
NECK_DEPTH, TORSO_DEPTH = 0.25, 0.5
"""Distances below the head's mask, head units: up to NECK_DEPTH the neck belongs to the head field too, from TORSO_DEPTH on there is
only torso. NECK_DEPTH is the overlap of the two fields. With none, the background would show through the torso's soft edge at the jaw
(docs/decisions/0002-fast-field.md); with more, a turned head would take visible parts of the shoulders along. Unmeasured."""


def region_labels(mask: UInt8[ndarray, "rows cols 2"], interocular_px: float) -> UInt8[ndarray, "rows cols"]:
    """Labels the pixels of a mask by what the head field should show there.

    * HEAD: surely the head.
    * NECK: the torso within NECK_DEPTH of the head. The head field learns it too, under the torso that is composited in front:
      where the torso's opacity falls at the jaw, skin shows and not the background, so there is neither a hole nor a rim.
    * TORSO: the torso more than TORSO_DEPTH away from the head. The head field is empty there.
    * BACKGROUND: surely neither head nor torso.
    * UNCERTAIN: the rest. These are the strip between NECK and TORSO, and the rim of the person's outline, where a pixel that the
      mask calls head may be background.

    Args:
        mask: coverage by head and torso, 0..255.
        interocular_px: one head unit, px.
    """
    head, torso = mask[..., 0], mask[..., 1].astype(int)
    person = (head + torso > FULL_COVERAGE).astype(np.uint8)
    inside = cv2.distanceTransform(person, cv2.DIST_L2, 3) / interocular_px > MASK_MARGIN
    head_distance = cv2.distanceTransform((head < 128).astype(np.uint8), cv2.DIST_L2, 3) / interocular_px
    labels = np.full(head.shape, UNCERTAIN, np.uint8)
    labels[(head < NO_COVERAGE) & (torso < NO_COVERAGE)] = BACKGROUND
    labels[(head > FULL_COVERAGE) & inside] = HEAD
    # The border between head and neck is skin on both sides: if it were left open, the jaw would get a speckled rim.
    labels[(labels != HEAD) & inside & (head_distance < NECK_DEPTH)] = NECK
    labels[(torso > FULL_COVERAGE) & inside & (head_distance > TORSO_DEPTH)] = TORSO
    return labels
