"""Cameras, rays and poses: the one module that knows the axes.

Pixels are (row, col), continuous, with the centre of the first pixel at (0.5, 0.5). Cameras look down -z with y up (OpenGL).
Poses are 4x4 camera-to-world transforms. The world is the head's own frame, so a turning head is a camera that moves around a
still head (AD-NeRF, section 3.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    height, width: of the image, px; focal: focal length, px; center: principal point (x, y), px.
    """

    height: int
    width: int
    focal: float
    center: tuple[float, float]

    def resized(self, size: int) -> Camera:
        """Returns the camera of the same view in an image `size` px wide."""
        scale = size / self.width
        return Camera(
            round(self.height * scale), size, self.focal * scale, (self.center[0] * scale, self.center[1] * scale)
        )

    def pixel_grid(self, device: torch.device | str = "cpu") -> Float[Tensor, "pixels 2"]:
        """Returns the centres (row, col) of all pixels, row by row."""
        rows = torch.arange(self.height, device=device) + 0.5
        cols = torch.arange(self.width, device=device) + 0.5
        return torch.stack(torch.meshgrid(rows, cols, indexing="ij"), -1).reshape(-1, 2)


@dataclass(frozen=True)
class RayBundle:
    """Rays in the head's frame; `directions` have unit length."""

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]

    def select(self, indices: Int[Tensor, " selected"]) -> RayBundle:
        """Returns the rays at `indices`."""
        return RayBundle(self.origins[indices], self.directions[indices])


def cast_rays(camera: Camera, poses: Float[Tensor, "poses 4 4"], pixels: Float[Tensor, "rays 2"]) -> RayBundle:
    """Casts a ray through each of `pixels` (row, col).

    Args:
        camera: the camera of all rays.
        poses: camera-to-world pose of each ray, or a single one of all rays.
        pixels: one place in the image a ray; it may lie outside the image.
    """
    x = (pixels[:, 1] - camera.center[0]) / camera.focal
    y = (camera.center[1] - pixels[:, 0]) / camera.focal
    local = torch.stack([x, y, -torch.ones_like(x)], -1)
    rotations = poses[:, :3, :3]
    directions = local @ rotations[0].T if len(poses) == 1 else (rotations @ local[:, :, None])[:, :, 0]
    return RayBundle(poses[:, :3, 3].expand_as(directions), torch.nn.functional.normalize(directions, dim=-1))


def project(
    camera: Camera, pose: Float[Tensor, "*n 4 4"], points: Float[Tensor, "points 3"]
) -> Float[Tensor, "*n points 2"]:
    """Projects `points` of the head's frame to pixels (row, col), for each pose. The points must lie in front of the camera."""
    local = (points - pose[..., None, :3, 3]) @ pose[..., :3, :3]
    depth = -local[..., 2]
    cols = camera.center[0] + camera.focal * local[..., 0] / depth
    rows = camera.center[1] - camera.focal * local[..., 1] / depth
    return torch.stack([rows, cols], -1)


def pose_angles(poses: Float[Tensor, "*n 4 4"]) -> Float[Tensor, "*n 6"]:
    """Returns the head's pose in the camera's axes: pitch, yaw, roll (rad) and translation x, y, z (head units).

    The camera-to-world `poses` are inverted for it, since the torso follows the head and not the camera. The angles are those of
    R = Rx(pitch) Ry(yaw) Rz(roll).
    """
    head = poses[..., :3, :3].transpose(-1, -2)
    position = -(head @ poses[..., :3, 3:])[..., 0]
    pitch = torch.atan2(-head[..., 1, 2], head[..., 2, 2])
    yaw = torch.asin(head[..., 0, 2].clamp(-1, 1))
    roll = torch.atan2(-head[..., 0, 1], head[..., 0, 0])
    return torch.cat([torch.stack([pitch, yaw, roll], -1), position], -1)
