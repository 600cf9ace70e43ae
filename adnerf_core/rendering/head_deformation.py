"""What footage of a talking face does not show: the neck between a turned head and the body, and the back of the head.

The head's field is right where the footage looked. From further aside, two things come into sight that no frame has shown: the
strip of neck that the field learnt beside the head (dataset.NECK_DEPTH) swings along with it, and the outline of the head goes
straight back, a prism along the rays of the footage, ragged where nothing was ever seen. Both are mended by where the field is
asked (inverse skinning): below the jaw a place follows the body instead of the head, hair that hangs on a shoulder already from
the temple on, and behind the ears the outline closes like a skull. Seen from where the footage looked, neither changes the
picture much, and rendering without a change of view skips both.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

CHIN, JAW_RISE = -1.34, 1.0
"""The jaw's line, head units: y = CHIN + JAW_RISE x^2. The head's frame is scaled by the eyes, so one line serves all faces."""
JAW_END = 0.8
"""How far from the middle the jaw's line rises."""
NECK_FROM, NECK_OVER = 0.1, 0.35
"""Below the jaw's line, head units: where the neck begins to follow the body, and the length over which it goes over to it."""
CHEEK, EAR = 0.6, 0.85
"""Distances from the middle, on either side, from which on hair may hang before the face, and from which on there is nothing else."""
HAIR_FROM, HAIR_OVER = -0.2, 0.7
"""Height at which hair that hangs on the shoulders begins to follow the body, and the length over which it goes over to it: what
hangs lower than the ear lobes and the margin below them belongs to the torso's field (preprocess/parsing.py)."""
WIDEST, BACK = -0.9, -2.1
"""Depths at which the head is widest (the ears) and at which it ends, head units."""
CROWN = 0.3
"""Height above which the skull closes upwards too, head units."""
UNSEEN = 0.3
"""Depth behind WIDEST is shortened by this: what lies there takes the colours of the outline, which were seen."""


def to_canonical(
    points: Float[Tensor, "*n 3"], to_body: Float[Tensor, "4 4"], hair: tuple[float, float]
) -> Float[Tensor, "*n 3"]:
    """Where the head's field has what belongs to `points` (head frame) of a head that is turned against its body.

    `to_body` takes places of the turned head's frame to the frame of a head that sits straight on the body; `hair` says how
    surely, 0..1, hair hangs on the person's right and left shoulder (Geometry.hair).
    """
    return close_skull(skin_neck_to_body(points, to_body, hair))


def skin_neck_to_body(
    points: Float[Tensor, "*n 3"], to_body: Float[Tensor, "4 4"], hair: tuple[float, float]
) -> Float[Tensor, "*n 3"]:
    """Leaves the head where it is and lets the neck below the jaw, and hair that hangs, follow the body, smoothly from one to the
    other."""
    x, y, _ = points.unbind(-1)
    jaw = CHIN + JAW_RISE * x.clamp(-JAW_END, JAW_END) ** 2
    share = smoothstep((jaw - NECK_FROM - y) / NECK_OVER)
    hangs = smoothstep((x.abs() - CHEEK) / (EAR - CHEEK)) * torch.where(x < 0, *hair)
    share = torch.maximum(share, hangs * smoothstep((HAIR_FROM - y) / HAIR_OVER))[..., None]
    return points + share * (points @ to_body[:3, :3].T + to_body[:3, 3] - points)


def smoothstep(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """0 below 0, 1 above 1, smooth between."""
    x = x.clamp(0, 1)
    return x**2 * (3 - 2 * x)


def close_skull(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Rounds the head behind the ears: cross-sections shrink towards the back as an ellipse's do."""
    x, y, z = points.unbind(-1)
    behind = (WIDEST - z).clamp(min=0)
    width = (1 - (behind / (WIDEST - BACK)).clamp(max=0.999) ** 2).sqrt()
    above = (y - CROWN).clamp(min=0)
    return torch.stack([x / width, y - above + above / width, z + (1 - UNSEEN) * behind], -1)
