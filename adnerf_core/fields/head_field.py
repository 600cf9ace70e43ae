"""The head: a dynamic radiance field on tri-planes, conditioned on the sound and on the eyes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from adnerf_core.config import FieldConfig
from adnerf_core.fields.plane_encoding import PlaneEncoding

UPPER_FACE = 2
"""Numbers of the condition that eyes and brows have."""
WARP_RESOLUTION = 40
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
    (a small plane, learned), which are added up, gated alike. PlaneEncoding hold still pictures; bent, lips and lids move in them
    and stay sharp, where the small net alone would have to blend one shape into the other.

    The plane that faces the camera (x, y) is fine; the two that hold depth (x, z and y, z) are coarse: footage shows a head from
    in front, and finer ones made held-out frames no better (docs/fidelity.md).
    """

    nose: Tensor

    def __init__(self, config: FieldConfig, nose: float, soft: float):
        """`nose` is the height (y, box units) of the middle of the nose, `soft` the half-width of the gate's slope there."""
        super().__init__()
        self.lip_code = config.lip_code
        self.front = PlaneEncoding(1, config.planes, config.channels)
        self.sides = PlaneEncoding(2, (config.sides,), config.channels)
        condition = config.lip_code + UPPER_FACE
        self.first = nn.Linear(self.front.width + self.sides.width + condition, config.hidden)
        self.second = nn.Linear(config.hidden, 1 + config.ray_features)
        self.warp = nn.Parameter(torch.zeros(1, 2 * condition, WARP_RESOLUTION, WARP_RESOLUTION))
        self.register_buffer("nose", torch.tensor([nose, soft]))

    def forward(
        self,
        points: Float[Tensor, "points 3"],
        condition: Float[Tensor, "moments condition"],
        moment: Int[Tensor, " points"] | None = None,
    ) -> tuple[Float[Tensor, " points"], Float[Tensor, "features points"]]:
        """Density (per box half-edge, >= 0) and features, channels first: that spares transposing the planes' output.

        `moment` says under which of the conditions a point is looked up (None: there is one).
        """
        x, y, z = points.unbind(-1)
        lower = torch.sigmoid((self.nose[0] - y) / self.nose[1])
        gates = torch.stack([lower, 1 - lower])
        shift = (self._moves(x, y, condition, moment) * gates[:, None]).sum(0)
        x, y = x + shift[0], y + shift[1]
        front = torch.stack([x, y], -1)[None]
        sides = torch.stack([torch.stack([x, z], -1), torch.stack([y, z], -1)])
        lips, upper = self._parts(condition.T if moment is None else condition.T[:, moment], 0)
        inputs = torch.cat([*self.front(front), *self.sides(sides), lips * gates[0], upper * gates[1]])
        hidden = torch.addmm(self.first.bias[:, None], self.first.weight, inputs).relu_()
        density, features = torch.addmm(self.second.bias[:, None], self.second.weight, hidden).split(
            [1, len(self.second.bias) - 1]
        )
        return F.softplus(density[0] - DENSITY_SHIFT) * DENSITY_SCALE, features

    def _moves(
        self,
        x: Float[Tensor, " points"],
        y: Float[Tensor, " points"],
        condition: Float[Tensor, "moments condition"],
        moment: Int[Tensor, " points"] | None,
    ) -> Float[Tensor, "gates axes points"]:
        """The displacements (x, y) of points by what the lips do and by what eyes and brows do, before the gates.

        The fields of all numbers are first added up for each moment, since points are many and moments few. The sums stand
        one below the other, so that one look-up serves the points of all moments.
        """
        fields = self.warp.view(2, -1, WARP_RESOLUTION, WARP_RESOLUTION)
        sums = [
            torch.einsum("mn,anrc->amrc", numbers, field)
            for numbers, field in zip(self._parts(condition, 1), self._parts(fields, 1), strict=True)
        ]
        stacked = torch.cat(sums).view(1, 4, -1, WARP_RESOLUTION)
        # Points stay half a texel within their own field: beyond, the next one's border would be read.
        edge = 1 - 1 / WARP_RESOLUTION
        x, y = x.clamp(-edge, edge), y.clamp(-edge, edge)
        if moment is not None:
            y = (2 * moment + 1 + y) / len(condition) - 1
        places = torch.stack([x, y], -1)[None, None]
        return F.grid_sample(stacked, places, padding_mode="border", align_corners=False).view(2, 2, -1)

    def _parts(self, values: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """What belongs to the lips, and to eyes and brows, of values for each number of the condition."""
        return values.split([self.lip_code, UPPER_FACE], axis)


class ColorDecoder(nn.Module):
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
