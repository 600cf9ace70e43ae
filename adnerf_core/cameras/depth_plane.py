"""Back-projection of pixels to a given depth of the head's frame, in NumPy."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float


def points_at_depth(
    pixels: Float[np.ndarray, "frames points 2"],
    depth: Float[np.ndarray, " points"],
    poses: Float[np.ndarray, "frames 4 4"],
    focal: float,
    center: tuple[float, float],
) -> Float[np.ndarray, "frames points 3"]:
    """Returns where the rays through pixels meet the planes z = `depth` of the head's frame: o + d (depth - o_z) / d_z.

    Args:
        pixels: (x, y), px.
        depth: z of each point, head units.
        poses: camera-to-head poses.
        focal: focal length, px.
        center: (x, y) of the principal point, px.
    """
    x = (pixels[..., 0].astype(np.float64) - center[0]) / focal
    y = (center[1] - pixels[..., 1].astype(np.float64)) / focal
    directions = np.einsum("fij,fnj->fni", poses[:, :3, :3], np.stack([x, y, -np.ones_like(x)], -1))
    origins = poses[:, None, :3, 3]
    distance = (depth - origins[..., 2]) / directions[..., 2]
    return origins + distance[..., None] * directions
