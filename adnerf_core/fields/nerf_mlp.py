"""NerfMlp: the field of the paper, one deep network F: (a, d, x) -> (c, sigma) (AD-NeRF, equation 1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adnerf_core.config import PaperConfig
from adnerf_core.fields.frequency_encoding import frequency_encode, frequency_encoding_dim

COLOR_LAYERS = 3
"""Hidden layers of the colour, as published."""
DENSITY_BIAS = 0.5
"""Initial bias of the raw density, 1/m. With the usual bias around zero, a network that begins below zero everywhere has no gradient (the
density is its relu) and shows the background for ever: the most frequently reported failure of the published code."""


class NerfMlp(nn.Module):
    """Maps place, viewing direction and condition to raw density and colour.

    With the encodings PE (frequency_encode), the condition a and e = (PE(x), a): the trunk's layers are applied to e, and e is joined
    to the features again in the middle. Density is read from the trunk alone, so it depends on the condition but not on the direction:

        h = trunk(e),    sigma = w h + b,    c = sigmoid(color(W h, PE(d))).
    """

    def __init__(self, config: PaperConfig, condition: int):
        """`condition` is the width of the condition."""
        super().__init__()
        self.point_bands, self.view_bands = config.point_bands, config.view_bands
        entry = frequency_encoding_dim(3, config.point_bands) + condition
        self.skip_after = config.layers // 2  # the input is joined to this layer's features, counted from 0
        widths = [entry] + [config.width + entry * (i == self.skip_after) for i in range(config.layers - 1)]
        self.trunk = nn.ModuleList(nn.Linear(width, config.width) for width in widths)
        self.density = nn.Linear(config.width, 1)
        self.feature = nn.Linear(config.width, config.width)
        color_width = config.width // 2
        widths = [config.width + frequency_encoding_dim(3, config.view_bands)] + [color_width] * (COLOR_LAYERS - 1)
        self.shades = nn.ModuleList(nn.Linear(width, color_width) for width in widths)  # name: key of saved weights
        self.color = nn.Linear(color_width, 3)
        nn.init.constant_(self.density.bias, DENSITY_BIAS)

    def forward(
        self, points: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"], condition: Float[Tensor, "n condition"]
    ) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Evaluates the field.

        Args:
            points: places x, m.
            directions: viewing directions d of unit length.
            condition: audio code, and for the torso the head's pose.

        Returns:
            Raw density (1/m; negative values mean empty space) and colour, 0..1.
        """
        entry = torch.cat([frequency_encode(points, self.point_bands), condition], -1)
        hidden = entry
        for i, layer in enumerate(self.trunk):
            hidden = torch.relu(layer(hidden))
            if i == self.skip_after:
                hidden = torch.cat([entry, hidden], -1)
        color = torch.cat([self.feature(hidden), frequency_encode(directions, self.view_bands)], -1)
        for layer in self.shades:
            color = torch.relu(layer(color))
        return self.density(hidden)[:, 0], torch.sigmoid(self.color(color))
