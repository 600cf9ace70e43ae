"""PlaneEncoding and MouthPlanes: the gradient of their roughness."""

import pytest
import torch
from torch import Tensor

from adnerf_core.fields.mouth_planes import MouthPlanes
from adnerf_core.fields.plane_encoding import PlaneEncoding


def roughness(texels: Tensor, axes: tuple[int, ...]) -> Tensor:
    return sum(texels.diff(dim=axis).square().mean() for axis in axes)


@pytest.mark.parametrize(
    ("planes", "axes"),
    [(PlaneEncoding(2, (8, 16), 4), (2, 3)), (MouthPlanes(3, 8, 2, 4, (0.0, 0.0, 1.0, 1.0)), (0, 2, 3))],
    ids=["planes", "mouth"],
)
def test_the_gradient_of_the_roughness_is_added_to_that_of_the_rays(planes: torch.nn.Module, axes: tuple[int, ...]):
    texels = [parameter for parameter in planes.parameters() if parameter.dim() == 4]
    expected = torch.autograd.grad(0.3 * sum(roughness(each, axes) for each in texels), texels)
    for each in texels:
        each.grad = torch.ones_like(each)
    planes.add_roughness_gradient(0.3)
    for each, gradient in zip(texels, expected, strict=True):
        assert torch.allclose(each.grad, 1 + gradient, atol=1e-6) and gradient.abs().max() > 1e-4
