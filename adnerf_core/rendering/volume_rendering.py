"""Volume rendering: pure functions on tensors; the field comes in as a callback.

A ray is cut into intervals; interval i of length delta_i with density sigma_i lets through exp(-sigma_i delta_i) of the light
behind it (NeRF, equation 3). Intervals are drawn where a cached density grid expects matter, so that a dozen of them do what
256 uniform samples do (docs/decisions/0002-fast-field.md). Features, not colours, are summed along a ray and decoded once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class RayOutput(NamedTuple):
    """What one field shows along each ray.

    color: of the field alone, premultiplied by its opacity, 0..1; transmittance: light left for what stands behind, 0..1;
    spread: see distortion (where training asks for it).
    """

    color: Float[Tensor, "rays 3"]
    transmittance: Float[Tensor, " rays"]
    spread: Float[Tensor, " rays"] | None = None


def over(front: RayOutput, behind: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
    """`front` composited over the colour `behind` (Porter and Duff's operator, premultiplied)."""
    return front.color + front.transmittance[:, None] * behind


def intersect_aabb(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Where rays enter and leave the box [-1, 1]^3 (slab method), and which of them meet it in front of the camera.

    Directions need not have unit length; distances are in units of them.
    """
    safe = torch.where(directions.abs() < 1e-8, torch.full_like(directions, 1e-8), directions)
    first, second = (-1 - origins) / safe, (1 - origins) / safe
    near = torch.minimum(first, second).amax(-1).clamp(min=0)
    far = torch.maximum(first, second).amin(-1)
    return near, far, far > near


def blur_weights(weights: Float[Tensor, "rays bins"]) -> Float[Tensor, "rays bins"]:
    """Each bin's weight, or a neighbour's where that is larger, averaged over pairs: an upper envelope (Mip-NeRF, section 3)."""
    ends = torch.cat([weights[:, :1], weights, weights[:, -1:]], -1)
    pairs = torch.maximum(ends[:, :-1], ends[:, 1:])
    return (pairs[:, :-1] + pairs[:, 1:]) / 2


def importance_sample_edges(
    weights: Float[Tensor, "rays bins"],
    near: Float[Tensor, " rays"],
    far: Float[Tensor, " rays"],
    count: int,
    uniform: float = 0.1,
    jitter: Float[Tensor, " rays"] | None = None,
) -> Float[Tensor, "rays edges"]:
    """Cuts [near, far] into `count` intervals of equal probability under `weights` (piecewise constant over equal bins).

    `uniform` is the share of the probability that is spread evenly, so that no part of the ray is ever left out; `jitter`
    in [0, 1) a ray moves the inner edges (stratified sampling; None: the middle). Returns `count` + 1 edges, ascending.
    """
    rays, bins = weights.shape
    density = weights + 1e-8
    density = (1 - uniform) * density / density.sum(-1, keepdim=True) + uniform / bins
    cdf = torch.cat([torch.zeros_like(density[:, :1]), density.cumsum(-1)], -1)
    cdf = cdf / cdf[:, -1:]
    shift = 0.5 if jitter is None else jitter[:, None]
    inner = (torch.arange(count - 1, device=weights.device) + 0.5 + shift) / count
    inner = inner.expand(rays, count - 1).contiguous()
    right = torch.searchsorted(cdf, inner, right=True).clamp(1, bins)
    low, high = cdf.gather(1, right - 1), cdf.gather(1, right)
    place = (right - 1 + (inner - low) / (high - low).clamp(min=1e-8)) / bins
    place = torch.cat([torch.zeros_like(place[:, :1]), place, torch.ones_like(place[:, :1])], -1)
    return near[:, None] + place * (far - near)[:, None]


def weights_from_density(
    density: Float[Tensor, "rays samples"], delta: Float[Tensor, "rays samples"]
) -> tuple[Float[Tensor, "rays samples"], Float[Tensor, " rays"]]:
    """Weights of the samples, front to back, and the transmittance behind the last one (they sum to one).

    weight_i = T_i (1 - exp(-sigma_i delta_i)) with T_i = exp(-sum_{j<i} sigma_j delta_j); Max, 1995.
    """
    depth = density * delta
    total = depth.cumsum(-1)
    passed = torch.exp(-(total - depth))
    weights = passed * (1 - torch.exp(-depth))
    return weights, torch.exp(-total[:, -1])


def distortion_loss(
    weights: Float[Tensor, "rays samples"], edges: Float[Tensor, "rays edges"]
) -> Float[Tensor, " rays"]:
    """How far the matter along each ray is spread, in the unit of `edges`: the mean distance between two places drawn from the
    weights, times their sum squared (Mip-NeRF 360, equation 15, in linear time)."""
    middle, delta = (edges[:, 1:] + edges[:, :-1]) / 2, edges.diff(dim=-1)
    moment = weights * middle
    before, moment_before = weights.cumsum(-1) - weights, moment.cumsum(-1) - moment
    return (2 * weights * (middle * before - moment_before) + weights**2 * delta / 3).sum(-1)
