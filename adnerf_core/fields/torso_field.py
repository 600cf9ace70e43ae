"""TorsoField: the upper body as a two-dimensional, deformable field, conditioned on the head's pose and its own motion.

The paper renders the torso as a second volume, seen by a camera that stands still, with the head's pose as a condition (AD-NeRF,
section 3.3). From a still camera one evaluation a pixel is enough (RAD-NeRF): the pixel is mapped back to a canonical image, first
by the torso's own tracked motion, then by a learned warp that depends on the head's pose (the neck turns with the head, the shoulders
do not), and the field is read there.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from adnerf_core.fields.plane_encoding import PlaneEncoding
from adnerf_core.rendering.volume_rendering import RayOutput

POSE_WIDTH = 6
"""Numbers of a pose: three angles and a translation."""
WARP_BANDS = 3
"""Frequencies by which the warp's network encodes a place: one, two and four periods over the frame. The neck bends no finer than that, and
higher ones would let the warp shuffle texture. Unmeasured."""
HIDDEN = 32
"""Width of the hidden layers of both networks: each runs once a pixel."""
CANVAS_SCALE = 1.2
"""Extent of the canonical image, in half-widths of the frame: what moves into the frame from outside is kept in the rest. Without it, the last
row smeared at the lower edge (docs/decisions/0017)."""
MAX_WARP = 0.15
"""Largest displacement by the warp, in half-widths of the frame (bounded by a tanh): a tracked torso leaves the warp little more than the
neck to explain, and a larger range lets a pixel take the colour of a distant one. Unmeasured."""
INITIAL_ALPHA_LOGIT = -3.0
"""Logit of the opacity at the start, 0.05: nearly transparent, so that previews of the head phase show the head and not an untrained torso."""


class TorsoField(nn.Module):
    """Colour and opacity of the torso at a place p of the image, given its motion m and the head's pose q.

        p' = inverse_similarity(m, p)
        p'' = (p' + 0.15 tanh(warp(PE(p'), q))) / 1.2
        (c, alpha) = sigmoid(decode(P(p''), q))

    with the feature planes P.
    """

    def __init__(self, resolutions: tuple[int, int], channels: int):
        """Makes a fresh field with planes of `resolutions` (texels an edge) and `channels` features at each."""
        super().__init__()
        self.warp = nn.Sequential(
            nn.Linear(2 + 4 * WARP_BANDS + POSE_WIDTH, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 2),
        )
        nn.init.zeros_(self.warp[-1].weight)
        nn.init.zeros_(self.warp[-1].bias)
        self.planes = PlaneEncoding(1, resolutions, channels)
        self.decode = nn.Sequential(nn.Linear(self.planes.width + POSE_WIDTH, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 4))
        nn.init.constant_(self.decode[-1].bias[3:], INITIAL_ALPHA_LOGIT)

    def forward(
        self, places: Float[Tensor, "points 2"], motion: Float[Tensor, "_ 4"], pose: Float[Tensor, "_ 6"]
    ) -> RayOutput:
        """Evaluates the field.

        Args:
            places: (x, y) in the image, -1..1, y down.
            motion: of the torso: x, y, angle, log scale (see preprocess/torso_tracking.py); one for each place, or a single one.
            pose: of the head, standardized (TalkingHead.standardized_pose); likewise.
        """
        pose = pose.expand(len(places), -1)
        places = inverse_similarity(motion, places)
        bands = torch.cat([places * (torch.pi * 2.0**k) for k in range(WARP_BANDS)], -1)
        warp = self.warp(torch.cat([places, bands.sin(), bands.cos(), pose], -1))
        features = torch.cat(self.planes(((places + MAX_WARP * torch.tanh(warp)) / CANVAS_SCALE)[None])).T
        out = self.decode(torch.cat([features, pose], -1))
        alpha = torch.sigmoid(out[:, 3])
        return RayOutput(alpha[:, None] * torch.sigmoid(out[:, :3]), 1 - alpha)


def inverse_similarity(motion: Float[Tensor, "_ 4"], places: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2"]:
    """Maps places back to the reference frame: p' = exp(-log_scale) R(-angle) (p - (x, y))."""
    x, y = (places - motion[:, :2]).unbind(-1)
    cos, sin = motion[:, 2].cos(), motion[:, 2].sin()
    return torch.stack([cos * x + sin * y, cos * y - sin * x], -1) * torch.exp(-motion[:, 3:])
