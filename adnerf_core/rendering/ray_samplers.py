"""Where the paper looks along a ray: evenly first, then where the first look saw matter (NeRF, sections 4 and 5.2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

FAINT = 1e-5
"""Weight that every interval has at least, so that an empty ray is sampled evenly."""


def stratified_sample(
    near: float, far: float, rays: int, count: int, generator: torch.Generator | None, device: torch.device
) -> Float[Tensor, "rays count"]:
    """`count` depths a ray from `near` to `far`, ascending: evenly spaced; with a `generator`, moved within their share."""
    depths = torch.linspace(near, far, count, device=device).expand(rays, count)
    if generator is None:
        return depths
    middle = (depths[:, 1:] + depths[:, :-1]) / 2
    low, high = torch.cat([depths[:, :1], middle], -1), torch.cat([middle, depths[:, -1:]], -1)
    return low + (high - low) * torch.rand((rays, count), generator=generator).to(device)


def importance_sample(
    edges: Float[Tensor, "rays edges"],
    weights: Float[Tensor, "rays intervals"],
    count: int,
    generator: torch.Generator | None,
) -> Float[Tensor, "rays count"]:
    """`count` depths a ray, drawn from the density that is constant between `edges` and proportional to `weights` there.

    Without a `generator` they are the evenly spaced quantiles.
    """
    weights = weights + FAINT
    share = weights / weights.sum(-1, keepdim=True)
    total = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(-1)], -1)
    if generator is None:
        wanted = torch.linspace(0, 1, count, device=edges.device).expand(len(edges), count).contiguous()
    else:
        wanted = torch.rand((len(edges), count), generator=generator).to(edges.device)
    right = torch.searchsorted(total, wanted, right=True).clamp(1, edges.shape[-1] - 1)
    left = right - 1
    low, high = total.gather(-1, left), total.gather(-1, right)
    place = ((wanted - low) / (high - low).clamp(min=1e-8)).clamp(0, 1)
    start = edges.gather(-1, left)
    return start + place * (edges.gather(-1, right) - start)
