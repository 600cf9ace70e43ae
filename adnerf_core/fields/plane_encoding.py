"""PlaneEncoding: learned feature planes read bilinearly, the encoding of head and torso field."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

INITIAL_STD = 0.1
"""Standard deviation of the features at the start. With larger ones the field begins as noise at the scale of the texels, which
training has to remove where the footage says little. Unmeasured."""


class PlaneEncoding(nn.Module):
    """Features on `count` planes over [-1, 1]^2, each plane at all of `resolutions` (texels an edge), `channels` at each.

    levels: one parameter a resolution, [count, channels, rows, cols]; width: number of features of a point.
    """

    def __init__(self, count: int, resolutions: tuple[int, ...], channels: int):
        super().__init__()
        self.levels = nn.ParameterList(torch.randn(count, channels, r, r) * INITIAL_STD for r in resolutions)
        self.width = count * channels * len(resolutions)

    def forward(self, points: Float[Tensor, "planes points 2"]) -> list[Float[Tensor, "features points"]]:
        """Reads the features at points (x, y) of each plane.

        Points outside [-1, 1]^2 read the nearest texel of the border.

        Returns:
            One tensor a resolution, channels first, as grid_sample returns them: this saves a transposition.
        """
        # The grid is shaped [planes, 1, points, 2]: torch works on one long row 20 times faster than on one long column.
        grid = points[:, None]
        return [
            F.grid_sample(level, grid, mode="bilinear", padding_mode="border", align_corners=False).flatten(0, 2)
            for level in self.levels
        ]

    def add_roughness_gradient(self, weight: float) -> None:
        """Adds the gradient of weight * roughness: the roughness of all resolutions along both axes."""
        for level in self.levels:
            add_roughness_gradient(level, (2, 3), weight)


@torch.no_grad()
def add_roughness_gradient(texels: nn.Parameter, axes: tuple[int, ...], weight: float) -> None:
    """Adds the gradient of weight * sum_axes mean |d|^2 to that of `texels`, where d are the differences of neighbours along an axis.

    Autograd would take more than twice the time: it makes a tensor of the size of `texels` for each of its steps.

    Args:
        texels: they have a gradient already.
        axes: along which neighbours are compared.
        weight: of the roughness.
    """
    for axis in axes:
        difference = texels.diff(dim=axis)
        count, share = difference.shape[axis], 2 * weight / difference.numel()
        texels.grad.narrow(axis, 1, count).add_(difference, alpha=share)
        texels.grad.narrow(axis, 0, count).sub_(difference, alpha=share)
