"""Kernels for CUDA, in Triton: what volume_rendering computes by a dozen operators along rays, by one kernel in each direction.

Loaded by volume_rendering alone, where Triton is installed; nothing needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import no_type_check

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

Weights = tuple[Float[Tensor, "rays samples"], Float[Tensor, " rays"]]
BLOCK = 1024
"""Samples of all rays of a block: eight for each of its 128 threads. Unmeasured."""
TRIAL = (70, 14)
"""Rays and samples with which the kernels are tried: neither fills a block."""


@triton.jit
@no_type_check
def weights_kernel(
    depth, weights, transmittance, rays, samples,
    depth_ray, depth_sample, weights_ray, weights_sample,
    RAYS: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """Computes weights and transmittance of RAYS rays. `depth_ray` and the like are strides; SAMPLES is a power of two."""
    ray, sample = tl.program_id(0) * RAYS + tl.arange(0, RAYS), tl.arange(0, SAMPLES)
    inside = (ray < rays)[:, None] & (sample < samples)[None, :]
    x = tl.load(depth + ray[:, None] * depth_ray + sample[None, :] * depth_sample, inside, 0.0)
    light = tl.exp(x - tl.cumsum(x, 1))
    tl.store(weights + ray[:, None] * weights_ray + sample[None, :] * weights_sample, light * (1 - tl.exp(-x)), inside)
    tl.store(transmittance + ray, tl.exp(-tl.sum(x, 1)), ray < rays)


@triton.jit
@no_type_check
def weights_gradient_kernel(
    depth, by_weights, by_transmittance, gradient, rays, samples,
    depth_ray, depth_sample, weights_ray, weights_sample, transmittance_ray, gradient_ray, gradient_sample,
    RAYS: tl.constexpr, SAMPLES: tl.constexpr,
):  # fmt: skip
    """Computes dL/dx_i = exp(-sum_{j<=i} x_j) dL/dw_i - sum_{j>i} w_j dL/dw_j - T dL/dT of RAYS rays, x being the optical depths.

    w_i falls with the depths before it, by itself; with its own depth it rises by the light that is left behind it.
    """
    ray, sample = tl.program_id(0) * RAYS + tl.arange(0, RAYS), tl.arange(0, SAMPLES)
    inside = (ray < rays)[:, None] & (sample < samples)[None, :]
    x = tl.load(depth + ray[:, None] * depth_ray + sample[None, :] * depth_sample, inside, 0.0)
    by_weight = tl.load(by_weights + ray[:, None] * weights_ray + sample[None, :] * weights_sample, inside, 0.0)
    by_light = tl.load(by_transmittance + ray * transmittance_ray, ray < rays, 0.0)
    total = tl.cumsum(x, 1)
    share = by_weight * tl.exp(x - total) * (1 - tl.exp(-x))
    behind = tl.cumsum(share, 1, reverse=True) - share
    slope = by_weight * tl.exp(-total) - behind - (by_light * tl.exp(-tl.sum(x, 1)))[:, None]
    tl.store(gradient + ray[:, None] * gradient_ray + sample[None, :] * gradient_sample, slope, inside)


class _Weights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, depth: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(depth)
        weights, transmittance = torch.empty_like(depth), depth.new_empty(len(depth))
        _launch(weights_kernel, depth, weights, transmittance, strides=(*depth.stride(), *weights.stride()))
        return weights, transmittance

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, by_weights: Tensor, by_transmittance: Tensor) -> Tensor:
        (depth,) = ctx.saved_tensors
        gradient = torch.empty_like(depth)
        tensors = depth, by_weights, by_transmittance, gradient
        _launch(weights_gradient_kernel, *tensors, strides=[stride for each in tensors for stride in each.stride()])
        return gradient


def _launch(kernel: triton.JITFunction, depth: Tensor, *others: Tensor, strides: tuple[int, ...] | list[int]) -> None:
    rays, samples = depth.shape
    block = block_of(samples)
    with torch.cuda.device_of(depth):
        kernel[(triton.cdiv(rays, block["RAYS"]),)](depth, *others, rays, samples, *strides, **block)


def block_of(samples: int) -> dict[str, int]:
    """Returns the size of a block for rays of so many samples: RAYS and SAMPLES of the kernels."""
    padded = triton.next_power_of_2(samples)
    return {"RAYS": max(1, BLOCK // padded), "SAMPLES": padded}


def weights_from_optical_depth(optical_depth: Float[Tensor, "rays samples"]) -> Weights:
    """Computes what volume_rendering.weights_from_optical_depth computes, with its gradient, by these kernels.

    Args:
        optical_depth: on a GPU, with any strides.
    """
    return _Weights.apply(optical_depth)


@torch.enable_grad()
@torch.inference_mode(False)
def check(plain: Callable[[Tensor], Weights], device: torch.device) -> None:
    """Compares the kernels' results and gradients with those of volume_rendering.weights_from_optical_depth.

    Args:
        plain: that function.
        device: where they are computed.

    Raises:
        AssertionError: they differ.
    """
    depth = torch.linspace(0, 3, TRIAL[0] * TRIAL[1], device=device).view(TRIAL)
    found = []
    for function in (weights_from_optical_depth, plain):
        x = depth.clone().requires_grad_()
        weights, transmittance = function(x)
        (gradient,) = torch.autograd.grad((weights * depth.flip(-1)).sum() + (transmittance**2).sum(), x)
        found.append((weights.detach(), transmittance.detach(), gradient))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
