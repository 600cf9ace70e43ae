"""Where along a ray a field is evaluated: stratified samples, and inverse-CDF sampling of a coarse estimate of the weights.

Sources: NeRF (Mildenhall et al., 2020), sections 4 and 5.2; Mip-NeRF (Barron et al., 2021), section 3.1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

MIN_WEIGHT = 1e-5
"""Added to every weight before importance_sample draws depths, as in NeRF's code: a ray without weight is sampled evenly."""
MIN_BIN_WEIGHT = 1e-8
"""Added to every weight before importance_sample_edges normalizes them. It only prevents a division by zero: the `uniform` share
already gives each bin a probability."""
MIN_WIDTH = 1e-8
"""Lower bound of an interval's width where a fraction is divided by it; far below float32's resolution of a distance."""


def stratified_sample(
    near: float, far: float, rays: int, count: int, generator: torch.Generator | None, device: torch.device
) -> Float[Tensor, "rays count"]:
    """Returns `count` ascending depths from `near` to `far` for each ray.

    The depths are evenly spaced; with a `generator` each is drawn uniformly from the part of the ray that lies closest to it.
    """
    depths = torch.linspace(near, far, count, device=device).expand(rays, count)
    if generator is None:
        return depths
    middle = (depths[:, 1:] + depths[:, :-1]) / 2
    low, high = torch.cat([depths[:, :1], middle], -1), torch.cat([middle, depths[:, -1:]], -1)
    return low + (high - low) * torch.rand((rays, count), generator=generator, device=device)


def importance_sample(
    edges: Float[Tensor, "rays edges"],
    weights: Float[Tensor, "rays intervals"],
    count: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "rays count"]:
    """Draws depths from the piecewise constant density given by `weights` (NeRF's `sample_pdf`).

    Args:
        edges: ascending edges of the intervals, in any unit.
        weights: one non-negative weight an interval; they need not sum to one.
        count: number of depths a ray.
        generator: source of the random quantiles. None: the evenly spaced quantiles 0 .. 1.

    Returns:
        Depths in the unit of `edges`; ascending only without a generator.
    """
    weights = weights + MIN_WEIGHT
    probability = weights / weights.sum(-1, keepdim=True)
    cdf = F.pad(probability.cumsum(-1), (1, 0))
    if generator is None:
        quantiles = torch.linspace(0, 1, count, device=edges.device).expand(len(edges), count)
    else:
        quantiles = torch.rand((len(edges), count), generator=generator, device=edges.device)
    index, fraction = locate(quantiles, cdf)
    start = edges.gather(-1, index)
    return start + fraction * (edges.gather(-1, index + 1) - start)


def importance_sample_edges(
    weights: Float[Tensor, "rays bins"],
    near: Float[Tensor, " rays"],
    far: Float[Tensor, " rays"],
    count: int,
    uniform: float = 0.1,
    jitter: Float[Tensor, " rays"] | None = None,
) -> Float[Tensor, "rays edges"]:
    """Divides [near, far] into `count` intervals of equal probability.

    The probability is piecewise constant over equal bins: (1 - uniform) * weight_i / sum_j weight_j + uniform / bins.

    Args:
        weights: one non-negative weight a bin.
        near: distance at which each ray's first bin begins.
        far: distance at which its last bin ends.
        count: number of intervals.
        uniform: share of the probability that is spread evenly, so that no part of the ray is left without an interval. With 0.1,
            one of twelve intervals samples the whole ray: matter that the weights miss is still found (docs/decisions/0002).
        jitter: for each ray, an offset in [0, 1) of the inner edges, in intervals (stratified sampling). None: 0.5.

    Returns:
        `count` + 1 ascending edges, the first at `near` and the last at `far`.
    """
    rays, bins = weights.shape
    probability = weights + MIN_BIN_WEIGHT
    probability = (1 - uniform) * probability / probability.sum(-1, keepdim=True) + uniform / bins
    cdf = F.pad(probability.cumsum(-1), (1, 0))
    cdf = cdf / cdf[:, -1:]
    offset = 0.5 if jitter is None else jitter[:, None]
    quantiles = (torch.arange(count - 1, device=weights.device) + 0.5 + offset) / count
    index, fraction = locate(quantiles.expand(rays, count - 1), cdf)
    inner = (index + fraction) / bins
    position = torch.cat([torch.zeros_like(near)[:, None], inner, torch.ones_like(near)[:, None]], -1)
    return near[:, None] + position * (far - near)[:, None]


def resample_weights(
    edges: Float[Tensor, "rays edges"],
    weights: Float[Tensor, "rays samples"],
    near: Float[Tensor, ""],
    far: Float[Tensor, ""],
    bins: int,
) -> Float[Tensor, "rays bins"]:
    """Transfers weights from each ray's own intervals to equal bins from `near` to `far`, which are common to all rays.

    A weight is taken as spread evenly over its interval, so the sum of each ray's weights is kept.
    """
    cumulative = F.pad(weights.cumsum(-1), (1, 0))
    bin_edges = near + torch.linspace(0, 1, bins + 1, device=edges.device) * (far - near)
    index, fraction = locate(bin_edges.expand(len(edges), -1), edges)
    return torch.lerp(cumulative.gather(1, index), cumulative.gather(1, index + 1), fraction).diff(dim=-1)


def locate(
    values: Float[Tensor, "rays values"], edges: Float[Tensor, "rays edges"]
) -> tuple[Int[Tensor, "rays values"], Float[Tensor, "rays values"]]:
    """Finds the interval that holds each value: the one step that all inverse-CDF sampling shares.

    Args:
        values: any values; those outside the edges are assigned to the nearest end.
        edges: ascending edges of the intervals.

    Returns:
        The interval's index i (0 .. edges - 2), and the value's position in it: 0 at edge i, 1 at edge i + 1.
    """
    values, edges = values.contiguous(), edges.contiguous()
    index = torch.searchsorted(edges, values, right=True).clamp(1, edges.shape[-1] - 1) - 1
    low, high = edges.gather(-1, index), edges.gather(-1, index + 1)
    return index, ((values - low) / (high - low).clamp(min=MIN_WIDTH)).clamp(0, 1)


def blur_weights(weights: Float[Tensor, "rays bins"]) -> Float[Tensor, "rays bins"]:
    """Widens weights to an upper envelope: a maximum over pairs of neighbours, then their mean (Mip-NeRF, equation 18).

    Without it, a surface that lies in the next bin gets no interval, and shows as speckles (docs/decisions/0002).
    """
    padded = torch.cat([weights[:, :1], weights, weights[:, -1:]], -1)
    pairs = torch.maximum(padded[:, :-1], padded[:, 1:])
    return (pairs[:, :-1] + pairs[:, 1:]) / 2
