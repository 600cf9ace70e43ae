"""What training minimises: colour where a field is answerable for it, opacity where the masks are sure."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from adnerf_core.data.ray_batches import BACKGROUND, EDGE, HEAD, NECK, TORSO, RayBatch
from adnerf_core.models.talking_head import RenderOutputs
from adnerf_core.rendering.volume_rendering import RayOutput, over

OPACITY_WEIGHT = 0.02
SPARSITY_WEIGHT = 0.01
"""Cost of opacity on the rim, where the mask does not tell."""
COMPACT_WEIGHT = 5e-4
"""Cost of matter that is spread along a ray: surfaces, not fog, hold when the head turns, and need few samples."""
COMPACT_START, COMPACT_RAMP = 0.2, 0.5
"""Compactness costs nothing for this part of the head phase, and grows over the next: fog first, or the shape is fixed too early."""
GRADIENT_WEIGHT, GRADIENT_MAGNITUDE_WEIGHT = 0.03, 0.055
"""Weights of gradient_loss: differences between neighbours, and how much of them there is."""
CLEAR = 0.05
"""Torso coverage below which a border pixel is one between head and background, and its colour is known."""


def head_loss(
    head: RayOutput, batch: RayBatch, done: float, restarts: int = 0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """(loss, mean squared colour error) of the head phase.

    The head, the neck under the torso (see dataset.zones) and the background must look as in the footage, and the head's
    field must be empty where the torso proper is; in the strip between neck and torso nothing is asked. The person's rim may
    be either, but is empty where that explains the picture as well. After a restart the masks pull four times as hard.
    `done` is the part of the phase that is over.
    """
    rim = (batch.zone == EDGE) & (batch.coverage[:, 1] < CLEAR)
    known = (batch.zone != EDGE) | rim
    error = ((over(head, batch.background) - batch.target) ** 2).mean(-1) * known
    color = error.sum() / known.sum().clamp(min=1)
    solid = (batch.zone == HEAD) | (batch.zone == NECK)
    empty = (batch.zone == BACKGROUND) | (batch.zone == TORSO)
    sparse = SPARSITY_WEIGHT * ((1 - head.transmittance) * rim).mean()
    compact = COMPACT_WEIGHT * min(1.0, max(0.0, (done - COMPACT_START) / COMPACT_RAMP)) * head.distortion.mean()
    masks = OPACITY_WEIGHT * 4**restarts * opacity_loss(head, solid, empty)
    return color + sparse + compact + masks, color.detach()


def gradient_loss(head: RayOutput, batch: RayBatch, edge: int) -> Float[Tensor, ""]:
    """For batches of squares of `edge` x `edge` px: neighbouring pixels must differ as they do in the footage.

    Squared errors of single pixels are least where doubt is averaged into blur. Absolute errors of differences are least at
    the commonest sharp picture, and the last term asks each square for as much fine detail as the true one has.
    """
    known = ((batch.zone == HEAD) | (batch.zone == BACKGROUND)).view(-1, edge, edge, 1)
    seen, target = (c.view(-1, edge, edge, 3) for c in (over(head, batch.background), batch.target))
    loss = seen.new_zeros(())
    for axis in (1, 2):
        both = known.narrow(axis, 1, edge - 1) & known.narrow(axis, 0, edge - 1)
        found, wanted = seen.diff(dim=axis) * both, target.diff(dim=axis) * both
        amounts = found.abs().mean((1, 2, 3)) - wanted.abs().mean((1, 2, 3))
        loss = loss + GRADIENT_WEIGHT * (found - wanted).abs().mean() + GRADIENT_MAGNITUDE_WEIGHT * amounts.abs().mean()
    return loss


def torso_loss(seen: RenderOutputs, batch: RayBatch) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """(loss, mean squared colour error) of the torso phase: the complete picture must look as in the footage."""
    error = ((seen.color - batch.target) ** 2).mean()
    solid = (batch.zone == TORSO) | (batch.zone == NECK)
    empty = (batch.zone == BACKGROUND) | (batch.zone == HEAD)
    return error + OPACITY_WEIGHT * opacity_loss(seen.torso, solid, empty), error.detach()


def opacity_loss(marched: RayOutput, solid: Tensor, empty: Tensor) -> Float[Tensor, ""]:
    """Binary cross-entropy of a field's opacity against what the masks are sure of."""
    left = marched.transmittance.clamp(1e-4, 1 - 1e-4)
    sure = solid | empty
    entropy = F.binary_cross_entropy(left, empty.to(left.dtype), reduction="none") * sure
    return entropy.sum() / sure.sum().clamp(min=1)
