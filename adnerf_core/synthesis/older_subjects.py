"""Subjects whose upper face was described by two numbers, the openness of both eyes and the height of the brows, and not yet by five."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

UPPER_FACE = 2
"""Numbers of the upper face in an older subject."""
FROM_FIVE = ((0.5, 0.5, 0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0, 0.0))
"""The two numbers as sums of the five (Track.upper_face): the mean of both eyes, and the brows. Such a head does not follow the gaze."""


def widen_upper_face(
    weights: dict[str, Tensor], upper: Float[Tensor, "frames 2"]
) -> tuple[dict[str, Tensor], Float[Tensor, "frames 5"]]:
    """Rewrites an older subject in five numbers, so that it looks as before.

    Args:
        weights: of a model; those of the paper's networks, which have no upper face, stay as they are.
        upper: openness of both eyes and height of the brows in the footage.

    Returns:
        The weights for five numbers, and the five numbers of each frame; the gaze is straight.
    """
    from_five = torch.tensor(FROM_FIVE)
    wide = upper @ (from_five > 0).to(upper.dtype)
    if "head.warp" not in weights:
        return weights, wide
    first, warp = weights["head.first.weight"], weights["head.warp"]
    planes = warp.unflatten(1, (2, -1))
    displacements = torch.einsum("ow,naors->nawrs", from_five, planes[:, :, -UPPER_FACE:])
    return weights | {
        "head.first.weight": torch.cat([first[:, :-UPPER_FACE], first[:, -UPPER_FACE:] @ from_five], 1),
        "head.warp": torch.cat([planes[:, :, :-UPPER_FACE], displacements], 2).flatten(1, 2),
    }, wide
