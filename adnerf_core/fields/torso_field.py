"""The upper body: its own field, two-dimensional and deformable, conditioned on the head's pose and on its own motion.

The paper renders the torso as a second volume seen by a camera that stands still. Seen so, one evaluation a pixel is enough
(RAD-NeRF): the pixel is taken back into a canonical picture, by the torso's own tracked motion and by a learnt warp that the
head's pose steers (the neck turns with the head, the shoulders do not), and read there.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adnerf_core.fields.plane_encoding import PlaneEncoding
from adnerf_core.rendering.volume_rendering import RayOutput

POSE_WIDTH = 6
FREQUENCIES = 3
CANVAS_SCALE = 1.2
"""How much of the canonical picture there is, in half-widths of the picture: what moves in from outside it is kept there."""
MAX_WARP = 0.15
"""How far a pixel may be warped, in half-widths of the picture."""


class TorsoField(nn.Module):
    """Places of the picture, the torso's motion and the head's pose -> what the torso shows there."""

    def __init__(self, resolutions: tuple[int, int], channels: int, hidden: int = 32):
        super().__init__()
        self.warp = nn.Sequential(
            nn.Linear(2 + 4 * FREQUENCIES + POSE_WIDTH, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2),
        )
        nn.init.zeros_(self.warp[-1].weight)
        nn.init.zeros_(self.warp[-1].bias)
        self.planes = PlaneEncoding(1, resolutions, channels)
        self.decode = nn.Sequential(nn.Linear(self.planes.width + POSE_WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, 4))
        nn.init.constant_(
            self.decode[-1].bias[3:], -3.0
        )  # thin at first: the head's own previews need it out of the way

    def forward(
        self, places: Float[Tensor, "points 2"], motion: Float[Tensor, "points 4"], pose: Float[Tensor, "points 6"]
    ) -> RayOutput:
        """`places` are (x, y) in -1..1 over the picture, y down; `motion` is the torso's (x, y, angle, log scale; see
        preprocess/torso.py); `pose` is the head's, standardised (Portrait.pose_code)."""
        places = inverse_similarity(motion, places)
        bands = torch.cat([places * (torch.pi * 2.0**k) for k in range(FREQUENCIES)], -1)
        warp = self.warp(torch.cat([places, bands.sin(), bands.cos(), pose], -1))
        features = torch.cat(self.planes(((places + MAX_WARP * torch.tanh(warp)) / CANVAS_SCALE)[None])).T
        out = self.decode(torch.cat([features, pose], -1))
        alpha = torch.sigmoid(out[:, 3])
        return RayOutput(alpha[:, None] * torch.sigmoid(out[:, :3]), 1 - alpha)


def inverse_similarity(
    motion: Float[Tensor, "points 4"], places: Float[Tensor, "points 2"]
) -> Float[Tensor, "points 2"]:
    """Where in the reference frame the torso seen at `places` was: the inverse of its motion."""
    x, y = (places - motion[:, :2]).unbind(-1)
    cos, sin = motion[:, 2].cos(), motion[:, 2].sin()
    return torch.stack([cos * x + sin * y, cos * y - sin * x], -1) * torch.exp(-motion[:, 3:])
