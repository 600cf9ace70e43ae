"""Deformations for changed views: where the head field is evaluated if the head is turned against its body.

Footage shows a head from within a few degrees of one pose. From further aside two faults show: the strip of neck that the head field
has learned beside the head (region_labels.NECK_DEPTH) swings out with the head, and the head's outline continues straight back along
the rays of the footage. Both are corrected by inverse skinning, that is by mapping each sample to the place at which the field has
the matter that belongs there: below the jaw a place moves with the body, hair that hangs on a shoulder moves with the body from the
temple on, and behind the ears the outline closes like a skull. Frames without a change of view skip this module
(docs/decisions/0013-views.md).

All lengths are in head units (distance between the outer corners of the eyes), in the head's frame: origin at the centre of the rigid
landmarks, x to the person's left, y up, z out of the face. They are hand-measured: set by eye on renderings of real footage, and not
fitted to data. One set of numbers serves all faces because the unit scales with the face.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CHIN_Y, JAW_RISE = -1.34, 1.0
"""The jaw line, seen from the front, is the parabola y = CHIN_Y + JAW_RISE x^2: the height of the chin's lower edge, and by how much
the jaw has risen at one head unit from the middle."""
JAW_END_X = 0.8
"""|x| of the angle of the jaw. Further out the line stays at the height that it has there (y = -0.7)."""
NECK_START_Y, NECK_BLEND_Y = 0.1, 0.35
"""The neck begins to move with the body at this distance below the jaw line, so that the jaw itself does not bend, and moves with
it completely this much further down: a third of a head unit, over which skin can stretch without a visible fold."""
CHEEK_X, EAR_X = 0.6, 0.85
"""|x| at which hair begins to hang beside the cheek, and beyond which, at the ears, there is nothing but hair."""
HAIR_START_Y, HAIR_BLEND_Y = -0.2, 0.7
"""Hair that hangs on a shoulder begins to move with the body at this height (the temple), and moves with it completely this much
further down (y = -0.9). That is below the ear lobes, where hair belongs to the torso field (preprocess/segmentation.py), which follows
the body anyway."""
WIDEST_Z, BACK_Z = -0.9, -2.1
"""Depth of the ears, at which the head is widest, and of the back of the skull, at which it ends."""
CROWN_Y = 0.3
"""Height above which cross-sections close upwards too. Below it the head's back goes over into the neck and stays open."""
UNSEEN_DEPTH_SHARE = 0.3
"""Depths behind WIDEST_Z are multiplied by this: places that no frame has shown take the colours of the outline, which was seen."""
MAX_ELLIPSE_DEPTH = 0.999
"""Depth on the ellipse of close_skull, 0 at the ears and 1 at the back, at most: at 1 the width would be zero and divided by."""


def to_canonical(
    points: Float[Tensor, "*n 3"], to_body: Float[Tensor, "4 4"], hair: tuple[float, float]
) -> Float[Tensor, "*n 3"]:
    """Maps places of a head that is turned against its body to the places at which the head field holds them.

    Args:
        points: (x, y, z) in the frame of the turned head.
        to_body: transform from that frame to the frame of a head that sits straight on the body.
        hair: probability, 0..1, that hair hangs on the person's right and left shoulder (SceneGeometry.hair).
    """
    return close_skull(skin_neck_to_body(points, to_body, hair))


def skin_neck_to_body(
    points: Float[Tensor, "*n 3"], to_body: Float[Tensor, "4 4"], hair: tuple[float, float]
) -> Float[Tensor, "*n 3"]:
    """Moves the neck and hanging hair with the body, by linear blend skinning with two bones: x' = x + b(x) (M x - x).

    M is `to_body`; the blend weight b is 0 on the head and grows smoothly to 1 below the jaw line and down the hanging hair.
    Arguments as in to_canonical.
    """
    x, y, _ = points.unbind(-1)
    jaw_y = CHIN_Y + JAW_RISE * x.clamp(-JAW_END_X, JAW_END_X) ** 2
    neck = smoothstep((jaw_y - NECK_START_Y - y) / NECK_BLEND_Y)
    beside_face = smoothstep((x.abs() - CHEEK_X) / (EAR_X - CHEEK_X)) * torch.where(x < 0, *hair)
    hanging_hair = beside_face * smoothstep((HAIR_START_Y - y) / HAIR_BLEND_Y)
    blend = torch.maximum(neck, hanging_hair)[..., None]
    return points + blend * (points @ to_body[:3, :3].T + to_body[:3, 3] - points)


def smoothstep(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Returns 0 below 0, 1 above 1 and 3 x^2 - 2 x^3 between them."""
    x = x.clamp(0, 1)
    return x**2 * (3 - 2 * x)


def close_skull(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Rounds the head behind the ears.

    At the share t of the way from the ears to the back of the skull, cross-sections shrink like an ellipse's, by sqrt(1 - t^2). So the
    field is evaluated at x / sqrt(1 - t^2), at a depth just behind the ears; above CROWN_Y the height is treated like x.
    """
    x, y, z = points.unbind(-1)
    behind = (WIDEST_Z - z).clamp(min=0)
    width = (1 - (behind / (WIDEST_Z - BACK_Z)).clamp(max=MAX_ELLIPSE_DEPTH) ** 2).sqrt()
    above = (y - CROWN_Y).clamp(min=0)
    return torch.stack([x / width, y - above + above / width, z + (1 - UNSEEN_DEPTH_SHARE) * behind], -1)
