"""MouthPlanes: feature planes of the mouth that change with the lip code, for what no displacement of points can show."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from adnerf_core.fields.plane_encoding import INITIAL_STD, add_roughness_gradient

RANGE = 2.5
"""Openings that the first and the last plane stand for: -RANGE and RANGE. Lip codes have a standard deviation of 1."""
WINDOW_EDGE = 0.25
"""Share of the box's half side over which the features fade out, so that the box has no visible edge."""


def window(u: Float[Tensor, " points"], v: Float[Tensor, " points"]) -> Float[Tensor, " points"]:
    """Returns 1 inside a box, 0 outside, and a ramp of WINDOW_EDGE within its sides, which are at -1 and 1 of (u, v)."""
    return ((1 - torch.maximum(u.abs(), v.abs())) / WINDOW_EDGE).clamp(0, 1)


class MouthPlanes(nn.Module):
    """Features on planes over the mouth, mixed by how wide it is open.

    Between parted lips something else is seen than before: teeth, tongue, darkness. HeadField displaces points, which can stretch a lip
    but not open it. Here each frame has a plane of its own, the interpolation of N learned planes P_n at the opening o:

        o = v . k_lips,    P(x, y; k) = sum_n max(0, 1 - |t(o) - n|) P_n(x, y),    t(o) = (o / RANGE + 1) (N - 1) / 2 within 0..N - 1,

    where v is learned, from the first component of the lip code on. It is the ambient dimension of HyperNeRF (Park et al., 2021) on feature
    planes. The planes are mixed once for all points of a call; a point costs one look-up.
    """

    box: Tensor

    def __init__(
        self, count: int, resolution: int, channels: int, lip_code: int, box: tuple[float, float, float, float]
    ):
        """Makes fresh planes.

        Args:
            count: of the planes, N.
            resolution: texels along a side of each.
            channels: features at each texel.
            lip_code: size of the lip code.
            box: centre (x, y) and half sides (x, y) of the mouth, in the units of the points.
        """
        super().__init__()
        self.planes = nn.Parameter(torch.randn(count, channels, resolution, resolution) * INITIAL_STD)
        self.direction = nn.Parameter(torch.eye(lip_code)[0])
        self.register_buffer("box", torch.tensor(box))
        self.width = channels

    def forward(
        self,
        x: Float[Tensor, " points"],
        y: Float[Tensor, " points"],
        lips: Float[Tensor, "frames code"],
        frame_index: Int[Tensor, " points"] | None = None,
    ) -> Float[Tensor, "channels points"]:
        """Reads the features at points (x, y); they are 0 outside the box.

        Args:
            x: of the points.
            y: likewise.
            lips: lip code of each frame.
            frame_index: the frame that each point belongs to. None: there is one frame.
        """
        count, channels, rows, columns = self.planes.shape
        place = ((lips @ self.direction / RANGE + 1) * (count - 1) / 2).clamp(0, count - 1)
        numbers = torch.arange(count, device=place.device)
        weights = (1 - (place[:, None] - numbers).abs()).clamp(min=0)
        mixed = torch.einsum("fn,ncij->cfij", weights, self.planes).reshape(1, channels, -1, columns)
        u, v = (x - self.box[0]) / self.box[2], (y - self.box[1]) / self.box[3]
        shown = window(u, v)
        # Points are clamped to half a texel inside the plane: further out, interpolation would read the next frame's plane.
        limit = 1 - 1 / rows
        u, v = u.clamp(-limit, limit), v.clamp(-limit, limit)
        if frame_index is not None:
            v = (2 * frame_index + 1 + v) / len(lips) - 1
        grid = torch.stack([u, v], -1)[None, None]
        return F.grid_sample(mixed, grid, padding_mode="border", align_corners=False)[0, :, 0] * shown

    def add_roughness_gradient(self, weight: float) -> None:
        """Adds the gradient of weight * roughness, as PlaneEncoding does; neighbouring planes count as well."""
        add_roughness_gradient(self.planes, (0, 2, 3), weight)
