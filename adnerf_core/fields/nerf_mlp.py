"""The paper's field: one deep net, conditioned on the sound, from places and directions to density and colour."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adnerf_core.config import PaperConfig
from adnerf_core.fields.frequency_encoding import frequency_encode, frequency_encoding_dim

COLOR_LAYERS = 3
DENSITY_BIAS = 0.5
"""Where the raw density begins, 1/m. A net that begins below zero everywhere has no gradient and shows background for ever."""


class NerfMlp(nn.Module):
    """Places (m), viewing directions and a condition -> raw density, colour.

    The trunk gets the encoded place and the condition, and gets them again in its middle; density is read from the trunk
    alone, so it depends on the condition and not on the direction.
    """

    def __init__(self, config: PaperConfig, condition: int):
        """`condition` is the width of the condition."""
        super().__init__()
        self.point_bands, self.view_bands = config.point_bands, config.view_bands
        entry = frequency_encoding_dim(3, config.point_bands) + condition
        self.middle = config.layers // 2
        """The input is joined to what this layer gives (counted from 0)."""
        widths = [entry] + [config.width + entry * (i == self.middle) for i in range(config.layers - 1)]
        self.trunk = nn.ModuleList(nn.Linear(width, config.width) for width in widths)
        self.density = nn.Linear(config.width, 1)
        self.feature = nn.Linear(config.width, config.width)
        widths = [config.width + frequency_encoding_dim(3, config.view_bands)] + [config.width // 2] * (
            COLOR_LAYERS - 1
        )
        self.shades = nn.ModuleList(nn.Linear(width, config.width // 2) for width in widths)
        self.color = nn.Linear(config.width // 2, 3)
        nn.init.constant_(self.density.bias, DENSITY_BIAS)

    def forward(
        self, points: Float[Tensor, "n 3"], views: Float[Tensor, "n 3"], condition: Float[Tensor, "n condition"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Raw density (1/m where above zero; below it is empty) and colour, 0..1. `views` have unit length."""
        entry = torch.cat([frequency_encode(points, self.point_bands), condition], -1)
        hidden = entry
        for i, layer in enumerate(self.trunk):
            hidden = torch.relu(layer(hidden))
            if i == self.middle:
                hidden = torch.cat([entry, hidden], -1)
        shade = torch.cat([self.feature(hidden), frequency_encode(views, self.view_bands)], -1)
        for layer in self.shades:
            shade = torch.relu(layer(shade))
        return self.density(hidden)[:, 0], torch.sigmoid(self.color(shade))
