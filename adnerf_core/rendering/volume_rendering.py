"""Volume rendering: pure functions of tensors, from densities along rays to weights, transmittance and composited colour.

AD-NeRF (Guo et al., 2021) renders a pixel as the integral along its ray r(t) = o + t d (equation 2)

    C(r) = int sigma(r(t)) c(r(t), d) T(t) dt,    T(t) = exp(-int_0^t sigma(r(s)) ds)    (equation 3)

which is computed for intervals of length delta_i with constant density sigma_i (NeRF, equation 3; Max, 1995):

    C = sum_i w_i c_i,    w_i = T_i (1 - exp(-sigma_i delta_i)),    T_i = exp(-sum_{j<i} sigma_j delta_j).

Our head field sums features f_i in the place of colours c_i, and decodes the sum once a ray.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

log = logging.getLogger(__name__)

Weights = tuple[Float[Tensor, "rays samples"], Float[Tensor, " rays"]]
"""Weights of the intervals of each ray, and the transmittance of the whole ray."""
MIN_DIRECTION = 1e-8
"""Smallest component of a direction that intersect_aabb divides by: a ray parallel to a side meets its plane far outside the box."""


class RayOutput(NamedTuple):
    """What one field shows along each ray.

    color: sum_i w_i c_i, 0..1: premultiplied by the field's opacity, nothing is behind it.
    transmittance: 1 - sum_i w_i, 0..1: the share of the light from behind that passes the field.
    distortion: see distortion_loss; only training computes it.
    """

    color: Float[Tensor, "rays 3"]
    transmittance: Float[Tensor, " rays"]
    distortion: Float[Tensor, " rays"] | None = None


def over(front: RayOutput, behind: Float[Tensor, "rays 3"]) -> Float[Tensor, "rays 3"]:
    """Composites `front` over the colour `behind`: C = C_front + T_front C_behind (Porter and Duff, premultiplied)."""
    return front.color + front.transmittance[:, None] * behind


def intersect_aabb(
    origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"], Bool[Tensor, " rays"]]:
    """Intersects rays with the box [-1, 1]^3 (slab method).

    Args:
        origins: in box coordinates.
        directions: in box coordinates; they need not have unit length.

    Returns:
        The distances at which each ray enters (at least 0) and leaves the box, in units of its direction; and whether it meets
        the box in front of the camera (if not, the distances mean nothing).
    """
    safe = torch.where(directions.abs() < MIN_DIRECTION, torch.full_like(directions, MIN_DIRECTION), directions)
    first, second = (-1 - origins) / safe, (1 - origins) / safe
    near = torch.minimum(first, second).amax(-1).clamp(min=0)
    far = torch.maximum(first, second).amin(-1)
    return near, far, far > near


def weights_from_density(density: Float[Tensor, "rays samples"], delta: Float[Tensor, "rays samples"]) -> Weights:
    """Computes w_i = T_i (1 - exp(-sigma_i delta_i)) and the transmittance of the whole ray.

    Args:
        density: sigma_i >= 0 of the intervals, front to back, 1 / unit of length.
        delta: lengths of the intervals.

    Returns:
        The weights w_i, and T = exp(-sum_i sigma_i delta_i); sum_i w_i + T = 1.
    """
    optical_depth = density * delta
    # Subclasses of Tensor may have no memory of their own that a kernel could read.
    if optical_depth.is_cuda and optical_depth.dtype == torch.float32 and type(optical_depth) is Tensor:
        return (_kernel(optical_depth.device) or weights_from_optical_depth)(optical_depth)
    return weights_from_optical_depth(optical_depth)


def weights_from_optical_depth(optical_depth: Float[Tensor, "rays samples"]) -> Weights:
    """Computes the weights and the transmittance of weights_from_density from sigma_i delta_i, by operators of torch."""
    total = optical_depth.cumsum(-1)
    transmittance = torch.exp(-(total - optical_depth))
    weights = transmittance * (1 - torch.exp(-optical_depth))
    return weights, torch.exp(-total[:, -1])


@cache
def _kernel(device: torch.device) -> Callable[[Tensor], Weights] | None:
    """Returns the Triton kernel that computes weights_from_optical_depth on a GPU; None if Triton is missing or a trial of it fails.

    Triton needs more than itself: a C compiler, Python's headers, and a cache folder from which libraries may be loaded. What is missing
    is logged once a process.
    """
    try:
        from adnerf_core.rendering import ray_kernels

        ray_kernels.check(weights_from_optical_depth, device)
    except (
        Exception
    ) as error:  # no Triton; of Triton, of the compilers that it starts, of the driver, of the comparison
        log.warning(
            "The Triton kernels are not used; results are the same without. %s: %s", type(error).__name__, error
        )
        return None
    return ray_kernels.weights_from_optical_depth


def distortion_loss(
    weights: Float[Tensor, "rays samples"], edges: Float[Tensor, "rays edges"]
) -> Float[Tensor, " rays"]:
    """Measures how far the matter along each ray is spread (Mip-NeRF 360, equation 15).

    L = sum_ij w_i w_j |m_i - m_j| + 1/3 sum_i w_i^2 delta_i, with the intervals' middles m_i and lengths delta_i. Since the middles
    ascend, the double sum is 2 sum_i w_i (m_i sum_{j<i} w_j - sum_{j<i} w_j m_j), which takes linear time.

    Args:
        weights: w_i of the intervals.
        edges: their ascending edges.

    Returns:
        L of each ray, in the unit of `edges`.
    """
    middle, delta = (edges[:, 1:] + edges[:, :-1]) / 2, edges.diff(dim=-1)
    moment = weights * middle
    weight_before, moment_before = weights.cumsum(-1) - weights, moment.cumsum(-1) - moment
    return (2 * weights * (middle * weight_before - moment_before) + weights**2 * delta / 3).sum(-1)
