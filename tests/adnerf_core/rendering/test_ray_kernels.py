"""The kernels for CUDA: equal to the plain function in Triton's interpreter, and compiled for GPUs that are not here.

Run as a program, with TRITON_INTERPRET=1, it compares them: Triton reads that variable when a kernel is defined.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from adnerf_core.rendering import volume_rendering
from adnerf_core.rendering.volume_rendering import weights_from_density, weights_from_optical_depth
from tests.adnerf_core.pretend_cuda import REAL, pretend_cuda

SHAPES = ((70, 14), (1, 1), (5, 192), (0, 14))
"""Rays and samples: of the fast model in part of a block, of one interval, of the paper's networks, of a frame without the head."""
ARCHITECTURES = (80, 90, 100)
"""Ampere (A100), Hopper (H100, H200) and Blackwell (B200)."""


def compare(device: str) -> None:
    """Compares results and gradients with those of the plain function, in both orders of memory."""
    from adnerf_core.rendering import ray_kernels

    generator = torch.Generator().manual_seed(0)
    for rays, samples in SHAPES:
        by_weights, by_light = torch.rand(rays, samples, generator=generator), torch.rand(rays, generator=generator)
        by_weights, by_light = by_weights.to(device), by_light.to(device)
        depth = torch.rand(samples, rays, generator=generator).mul(3).to(device)
        depth[:, 2::3] *= 50  # opaque
        for x in (depth.T, depth.T.contiguous()):
            found = []
            for function in (ray_kernels.weights_from_optical_depth, weights_from_optical_depth):
                x = x.detach().requires_grad_()
                weights, light = function(x)
                loss = (weights * by_weights).sum() + (light * by_light).sum()
                found.append((weights.detach(), light.detach(), *torch.autograd.grad(loss + weights.sum(), x)))
            for ours, expected in zip(*found, strict=True):
                torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(REAL, reason="the kernels themselves run")
def test_the_kernels_equal_the_plain_function_with_its_gradient():
    pytest.importorskip("triton")
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", __name__],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0 and ran.stdout.split() == ["equal"], ran.stderr


@pytest.mark.filterwarnings("ignore:AnnAssign:DeprecationWarning")  # Triton's own, on Python 3.13
def test_the_kernels_compile_for_gpus_that_are_not_here(tmp_path, monkeypatch):
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from adnerf_core.rendering import ray_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    sizes = ray_kernels.block_of(14)
    for kernel, tensors in ((ray_kernels.weights_kernel, 3), (ray_kernels.weights_gradient_kernel, 4)):
        types = dict.fromkeys(kernel.arg_names, "i32") | dict.fromkeys(kernel.arg_names[:tensors], "*fp32")
        source = ASTSource(kernel, types | dict.fromkeys(sizes, "constexpr"), sizes)
        for architecture in ARCHITECTURES:
            compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
            assert compiled.asm["cubin"] and f".target sm_{architecture}" in compiled.asm["ptx"]


@pytest.mark.skipif(REAL, reason="of machines without a GPU")
def test_the_plain_function_is_used_where_there_is_no_gpu(monkeypatch, caplog):
    assert volume_rendering._kernel.__wrapped__(torch.device("cuda", 0)) is None
    (told,) = caplog.records  # where logs begin at warnings too
    assert told.levelname == "WARNING" and "The Triton kernels are not used" in told.message
    monkeypatch.setattr(volume_rendering, "_kernel", lambda device: pytest.fail("a kernel is asked for"))
    density = torch.full((3, 4), 0.5)
    expected, _ = weights_from_density(density, density)
    with pretend_cuda():
        weights, _ = weights_from_density(density.to("cuda"), density.to("cuda"))
        assert weights.is_cuda and torch.equal(weights.cpu(), expected)


@pytest.mark.skipif(not REAL, reason="of a GPU (ADNERF_TEST_CUDA=real)")
def test_on_a_gpu_the_kernels_are_used_and_equal_the_plain_function():
    from adnerf_core.rendering import ray_kernels

    assert volume_rendering._kernel(torch.device("cuda", 0)) is ray_kernels.weights_from_optical_depth
    compare("cuda")


if __name__ == "__main__":
    from adnerf_core.rendering import ray_kernels

    compare("cpu")
    exact = torch.rand(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(ray_kernels.weights_from_optical_depth, exact)
    ray_kernels.check(weights_from_optical_depth, torch.device("cpu"))
    with pytest.raises(AssertionError):
        ray_kernels.check(lambda depth: weights_from_optical_depth(depth * 1.001), torch.device("cpu"))
    print("equal")
