"""The head: a dynamic radiance field on tri-planes, conditioned on the sound and on the eyes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from adnerf_core.fields.planes import Planes

UPPER_FACE = 2
"""Numbers of the condition that eyes and brows have."""
WARP = 40
"""Texels an edge of the warp: what it bends, skin, is smooth."""
DENSITY_SCALE = 40.0
DENSITY_SHIFT = 5.0
"""softplus(x - 5) * 40 begins at 0.27 a box half-edge: nearly empty. A dense start glues all samples to the front of the box."""


class HeadField(nn.Module):
    """Points of the head's box and a condition -> density, features.

    The condition (lip code from the sound; openness of the eyes and height of the brows) enters the first layer beside the
    plane features, each part gated by location: the sound acts below the middle of the nose, eyes and brows above it. So
    neither can move what is not its own, and hair and forehead stay still while the person speaks (the idea of ER-NeRF's
    location-wise attention, with a fixed gate).

    Besides, the condition bends space before the planes are read: every number of it has a field of displacements in x and y
    (a small plane, learned), which are added up, gated alike. Planes hold still pictures; bent, lips and lids move in them
    and stay sharp, where the small net alone would have to blend one shape into the other.
    """

    nose: Tensor

    def __init__(
        self,
        resolutions: tuple[int, int],
        channels: int,
        hidden: int,
        features: int,
        lip_code: int,
        nose: float,
        soft: float,
    ):
        """`nose` is the height (y, box units) of the middle of the nose, `soft` the half-width of the gate's slope there."""
        super().__init__()
        self.lip_code = lip_code
        self.planes = Planes(3, resolutions, channels)
        self.first = nn.Linear(self.planes.width + lip_code + UPPER_FACE, hidden)
        self.second = nn.Linear(hidden, 1 + features)
        self.warp = nn.Parameter(torch.zeros(1, 2 * (lip_code + UPPER_FACE), WARP, WARP))
        self.register_buffer("nose", torch.tensor([nose, soft]))

    def forward(
        self, points: Float[Tensor, "points 3"], condition: Float[Tensor, "points condition"]
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "features points"]]:
        """Density (per box half-edge, >= 0) and features, channels first: that spares transposing the planes' output."""
        x, y, z = points.unbind(-1)
        lower = torch.sigmoid((self.nose[0] - y) / self.nose[1])
        gated = condition.T * torch.cat([lower.expand(self.lip_code, -1), (1 - lower).expand(UPPER_FACE, -1)])
        places = torch.stack([x, y], -1)[None, None]
        moves = F.grid_sample(self.warp, places, padding_mode="border", align_corners=False)
        shift = (moves.view(2, len(gated), -1) * gated).sum(1)
        x, y = x + shift[0], y + shift[1]
        grid = torch.stack([torch.stack([x, y], -1), torch.stack([x, z], -1), torch.stack([y, z], -1)])
        parts = [*self.planes(grid), gated]
        weights = self.first.weight.split([len(part) for part in parts], dim=1)
        hidden = torch.addmm(self.first.bias[:, None], weights[0], parts[0])
        for weight, part in zip(weights[1:], parts[1:], strict=True):
            hidden = hidden.addmm_(
                weight, part
            )  # the sum of the products is the product of the joined, without joining
        out = torch.addmm(self.second.bias[:, None], self.second.weight, hidden.relu_())
        return F.softplus(out[0] - DENSITY_SHIFT) * DENSITY_SCALE, out[1:]


class RayDecoder(nn.Module):
    """Features summed along a ray, and the viewing direction -> colour, once a ray instead of once a sample.

    The direction is in the head's frame, so it also tells how the head is turned towards the (still) lights.
    """

    def __init__(self, features: int, hidden: int = 32):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(features + 3, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(
        self, features: Float[Tensor, "rays features"], directions: Float[Tensor, "rays 3"]
    ) -> Float[Tensor, "rays 3"]:
        """Colour, 0..1."""
        return torch.sigmoid(self.layers(torch.cat([features, directions], -1)))
