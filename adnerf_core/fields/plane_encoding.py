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

    def roughness(self) -> Float[Tensor, ""]:
        """Returns the mean squared difference of neighbouring texels, summed over the resolutions and both axes."""
        return torch.stack([level.diff(dim=axis).square().mean() for level in self.levels for axis in (2, 3)]).sum()
