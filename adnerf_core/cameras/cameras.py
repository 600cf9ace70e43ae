"""Cameras and rays: the one place that knows the axes.

Pixels are (row, col), continuous, with the centre of the first pixel at (0.5, 0.5). Cameras look down -z with y up (OpenGL).
Poses are camera-to-world; the world is the head's own frame, so a turning head is a camera that moves around a still head
(AD-NeRF, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: `height`, `width` and `focal` in px, `center` is (x, y) in px."""

    height: int
    width: int
    focal: float
    center: tuple[float, float]

    def resized(self, size: int) -> Camera:
        """The same view on a picture `size` px wide."""
        scale = size / self.width
        return Camera(
            round(self.height * scale), size, self.focal * scale, (self.center[0] * scale, self.center[1] * scale)
        )

    def pixel_grid(self, device: torch.device | str = "cpu") -> Float[Tensor, "pixels 2"]:
        """The centres of all pixels, row by row."""
        rows = torch.arange(self.height, device=device) + 0.5
        cols = torch.arange(self.width, device=device) + 0.5
        return torch.stack(torch.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)


@dataclass(frozen=True)
class RayBundle:
    """Rays in the head's frame; `directions` have unit length."""

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]

    def of(self, chosen: Int[Tensor, " chosen"]) -> RayBundle:
        """Those of the rays."""
        return RayBundle(self.origins[chosen], self.directions[chosen])


def cast_rays(camera: Camera, poses: Float[Tensor, "rays 4 4"], pixels: Float[Tensor, "rays 2"]) -> RayBundle:
    """Rays through `pixels` of `camera` at `poses` (one a ray; expand a single one)."""
    x = (pixels[:, 1] - camera.center[0]) / camera.focal
    y = (camera.center[1] - pixels[:, 0]) / camera.focal
    local = torch.stack([x, y, -torch.ones_like(x)], -1)
    directions = (poses[:, :3, :3] @ local[:, :, None])[:, :, 0]
    return RayBundle(poses[:, :3, 3], torch.nn.functional.normalize(directions, dim=-1))


def project(camera: Camera, pose: Float[Tensor, "4 4"], points: Float[Tensor, "points 3"]) -> Float[Tensor, "points 2"]:
    """Pixels (row, col) at which `points` of the head's frame are seen. The points must lie in front of the camera."""
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    depth = -local[:, 2]
    cols = camera.center[0] + camera.focal * local[:, 0] / depth
    rows = camera.center[1] - camera.focal * local[:, 1] / depth
    return torch.stack([rows, cols], -1)


def pose_angles(poses: Float[Tensor, "*n 4 4"]) -> Float[Tensor, "*n 6"]:
    """Pitch, yaw, roll (rad; of the head, in the camera's axes) and translation (head units) of head-to-camera poses.

    Takes camera-to-world poses and inverts them, since the torso follows the head and not the camera.
    """
    head = poses[..., :3, :3].transpose(-1, -2)
    position = -(head @ poses[..., :3, 3:])[..., 0]
    pitch = torch.atan2(-head[..., 1, 2], head[..., 2, 2])
    yaw = torch.asin(head[..., 0, 2].clamp(-1, 1))
    roll = torch.atan2(-head[..., 0, 1], head[..., 0, 0])
    return torch.cat([torch.stack([pitch, yaw, roll], -1), position], -1)
