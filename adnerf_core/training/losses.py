"""The losses of the fast model: colour where a field determines it, opacity where the masks are certain, compactness, and detail.

In the formulas T is the transmittance of a ray, 1 - T its opacity, C the rendered colour over the background, and C* the target.
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from adnerf_core.data.ray_batches import RayBatch
from adnerf_core.data.region_labels import BACKGROUND, HEAD, NECK, TORSO, UNCERTAIN
from adnerf_core.fields.head_field import HeadField
from adnerf_core.fields.plane_encoding import PlaneEncoding
from adnerf_core.models.base import RenderOutputs
from adnerf_core.rendering.volume_rendering import RayOutput, over

OPACITY_WEIGHT = 0.02
"""Weight of opacity_loss, small beside the colour error: the masks only have to decide if the colours fit both matter and empty space.
Unmeasured."""
RESTART_MASK_FACTOR = 4
"""Factor of OPACITY_WEIGHT in the head phase for every restart after a collapse."""
SPARSITY_WEIGHT = 0.01
"""Weight of the opacity on the rim of the person, where the masks are uncertain. It makes the rim empty if empty space fits the image as
well as matter does (docs/decisions/0002-fast-field.md). Unmeasured."""
COMPACT_WEIGHT = 5e-4
"""Weight of the distortion loss (Mip-NeRF 360). Without it, matter spreads along the rays: it smears when the head turns, and rendering it
takes many samples (docs/decisions/0017-sharper-portrait.md)."""
COMPACT_START, COMPACT_RAMP = 0.2, 0.5
"""Shares of the head phase. The distortion loss has weight 0 until COMPACT_START; then its weight rises linearly, for COMPACT_RAMP, to
COMPACT_WEIGHT. Full weight from the first step fixed the shape too early and lowered the head's PSNR by 2.4 dB (docs/fidelity.md)."""
SMOOTHNESS_WEIGHT = 1e-2
"""Weight of the roughness of feature planes (K-Planes, Fridovich-Keil et al., 2023, section 4.2). It counts where the gradients of the footage
are small: without it, texels there become noise that shows as specks. With a tenth, most specks remain; with ten times as much, the error
of the footage grows (docs/fidelity.md)."""
SMOOTHNESS_EVERY = 4
"""Steps between two that count the roughness, with as many times the weight: all texels are read and written, which takes a tenth of
a step's time (docs/fidelity.md)."""
GRADIENT_WEIGHT, GRADIENT_MAGNITUDE_WEIGHT = 0.03, 0.055
"""Weights of the two terms of gradient_loss: the error of the image gradients, and the error of their mean magnitude. A magnitude weight of
0.08 raised the sharpness (to 0.92 at the head and 0.85 at the mouth) and lowered the PSNR by 0.2 dB (docs/fidelity.md)."""
RIM_TORSO_COVERAGE = 0.05
"""An UNCERTAIN pixel with less torso coverage than this lies between head and background. The head field alone can then reproduce its
colour, since no torso is in front."""
MIN_TRANSMITTANCE = 1e-4
"""Transmittances are clamped to this distance from 0 and 1, which keeps the cross-entropy and its gradient finite."""


def head_loss(
    head: RayOutput, batch: RayBatch, done: Float[Tensor, ""], restarts: int = 0
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Loss of the head phase: colour + sparsity + compactness + masks.

        colour       mean |C - C*|^2 over the rays that are not UNCERTAIN and those on the rim
        sparsity     SPARSITY_WEIGHT / rays * sum of 1 - T over the rim
        compactness  COMPACT_WEIGHT ramp(done) mean(distortion), where ramp rises from 0 at COMPACT_START to 1
        masks        OPACITY_WEIGHT RESTART_MASK_FACTOR^restarts opacity_loss: HEAD and NECK solid, BACKGROUND and TORSO empty

    The rim consists of the UNCERTAIN rays with a torso coverage below RIM_TORSO_COVERAGE. At the other UNCERTAIN rays the torso may hide
    the head, so their colours do not count.

    Args:
        head: the rendered head.
        batch: what it should show.
        done: completed share of the phase, 0..1.
        restarts: restarts after a collapse so far.

    Returns:
        (loss, mean squared colour error without gradient).
    """
    rim = (batch.label == UNCERTAIN) & (batch.coverage[:, 1] < RIM_TORSO_COVERAGE)
    known = (batch.label != UNCERTAIN) | rim
    error = ((over(head, batch.background) - batch.target) ** 2).mean(-1) * known
    color = error.sum() / known.sum().clamp(min=1)
    solid = (batch.label == HEAD) | (batch.label == NECK)
    empty = (batch.label == BACKGROUND) | (batch.label == TORSO)
    ramp = ((done - COMPACT_START) / COMPACT_RAMP).clamp(0, 1)
    sparsity = SPARSITY_WEIGHT * ((1 - head.transmittance) * rim).mean()
    compactness = COMPACT_WEIGHT * ramp * head.distortion.mean()
    masks = OPACITY_WEIGHT * RESTART_MASK_FACTOR**restarts * opacity_loss(head, solid, empty)
    return color + sparsity + compactness + masks, color.detach()


def gradient_loss(head: RayOutput, batch: RayBatch, patch_size: int) -> Float[Tensor, ""]:
    """Compares the differences of neighbouring pixels with those of the footage, for a batch of square patches.

        loss = sum over rows and columns of  GRADIENT_WEIGHT mean |dC - dC*| + GRADIENT_MAGNITUDE_WEIGHT mean_p | m_p(dC) - m_p(dC*) |

    dC are the differences of neighbours along the axis, and m_p is the mean of their absolute values in patch p. Differences count
    only if both pixels are HEAD or BACKGROUND. A squared error of colours is least for the mean of all possible images, which is blurred.
    The first term, the absolute error of differences, is least for their median, which is sharper. The second term is least if the
    image has as much fine detail as the footage.

    Args:
        head: the rendered head.
        batch: rays in patches, row by row.
        patch_size: side of a patch, px.
    """
    known = ((batch.label == HEAD) | (batch.label == BACKGROUND)).view(-1, patch_size, patch_size, 1)
    rendered, target = (
        color.view(-1, patch_size, patch_size, 3) for color in (over(head, batch.background), batch.target)
    )
    loss = rendered.new_zeros(())
    for axis in (1, 2):
        both = known.narrow(axis, 1, patch_size - 1) & known.narrow(axis, 0, patch_size - 1)
        gradient, true_gradient = rendered.diff(dim=axis) * both, target.diff(dim=axis) * both
        excess = gradient.abs().mean((1, 2, 3)) - true_gradient.abs().mean((1, 2, 3))
        loss = loss + GRADIENT_WEIGHT * (gradient - true_gradient).abs().mean()
        loss = loss + GRADIENT_MAGNITUDE_WEIGHT * excess.abs().mean()
    return loss


def torso_loss(rendered: RenderOutputs, batch: RayBatch) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Loss of the torso phase: mean |C - C*|^2 of head and torso together + OPACITY_WEIGHT opacity_loss of the torso.

    The torso is solid at TORSO and NECK, and empty at BACKGROUND and HEAD.

    Returns:
        (loss, mean squared colour error without gradient).
    """
    error = ((rendered.color - batch.target) ** 2).mean()
    solid = (batch.label == TORSO) | (batch.label == NECK)
    empty = (batch.label == BACKGROUND) | (batch.label == HEAD)
    return error + OPACITY_WEIGHT * opacity_loss(rendered.torso, solid, empty), error.detach()


def add_smoothness_gradient(planes: HeadField | PlaneEncoding, step: int) -> None:
    """Adds the gradient of the roughness of feature planes, times SMOOTHNESS_EVERY SMOOTHNESS_WEIGHT, at every SMOOTHNESS_EVERY-th step.

    Args:
        planes: what has a roughness.
        step: of the phase.
    """
    if step % SMOOTHNESS_EVERY == 0:
        planes.add_roughness_gradient(SMOOTHNESS_EVERY * SMOOTHNESS_WEIGHT)


def opacity_loss(output: RayOutput, solid: Bool[Tensor, " rays"], empty: Bool[Tensor, " rays"]) -> Float[Tensor, ""]:
    """Binary cross-entropy of the transmittance: the mean of -log(1 - T) at `solid` and -log(T) at `empty` rays.

    Args:
        output: the rendered field.
        solid: rays that surely meet the field.
        empty: rays that surely do not meet it. Rays that are neither solid nor empty do not count.
    """
    transmittance = output.transmittance.clamp(MIN_TRANSMITTANCE, 1 - MIN_TRANSMITTANCE)
    certain = solid | empty
    entropy = F.binary_cross_entropy(transmittance, empty.to(transmittance.dtype), reduction="none") * certain
    return entropy.sum() / certain.sum().clamp(min=1)
