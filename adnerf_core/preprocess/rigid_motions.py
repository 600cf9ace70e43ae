"""Rigid motions of the head in the camera's frame, and the camera that sees it, in NumPy.

The camera's frame is OpenGL's: x right, y up, looking down -z. Image points are (u, v), px from the centre of the picture, u
right and v up. (cameras/cameras.py has the same projection for rendering, in torch, in rows and columns.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation


@dataclass(frozen=True)
class Motions:
    """Rigid motions from the head's to the camera's frame, one per frame: X_c = rotation @ X + translation."""

    rotation: Float[np.ndarray, "frames 3 3"]
    translation: Float[np.ndarray, "frames 3"]

    def __getitem__(self, index) -> Motions:
        return Motions(self.rotation[index], self.translation[index])

    def camera_to_world(self) -> Float[np.ndarray, "frames 4 4"]:
        """Returns the inverse motions as 4x4 matrices: the poses of the camera in the head's frame."""
        pose = np.tile(np.eye(4), (len(self.rotation), 1, 1))
        pose[:, :3, :3] = self.rotation.transpose(0, 2, 1)
        pose[:, :3, 3] = -np.einsum("fji,fj->fi", self.rotation, self.translation)
        return pose

    def yaw_deg(self) -> Float[np.ndarray, " frames"]:
        """Returns the turn of the head to its own left (right in the picture), degrees."""
        return np.degrees(np.arctan2(self.rotation[:, 0, 2], self.rotation[:, 2, 2]))

    def moved(self, step: Float[np.ndarray, "frames 6"]) -> Motions:
        """Returns exp(w) R and t + d, for `step` = (w, d): a rotation vector, rad, and a translation."""
        turn = Rotation.from_rotvec(step[:, :3]).as_matrix()
        return Motions(turn @ self.rotation, self.translation + step[:, 3:])


def project_centred(
    points: Float[np.ndarray, "*frames n 3"], focal: float, motions: Motions
) -> Float[np.ndarray, "frames n 2"]:
    """Projects points of the head's frame: u = f x_c / -z_c, v = f y_c / -z_c.

    Args:
        points: the same points in all frames, [n, 3], or others in each, [frames, n, 3].
        focal: focal length, px.
        motions: the head's motions.

    Returns:
        (u, v), px from the centre of the picture, u right and v up.
    """
    camera = points @ motions.rotation.transpose(0, 2, 1) + motions.translation[:, None]
    return focal * camera[..., :2] / -camera[..., 2:]


def similarity(
    source: Float[np.ndarray, "n 3"], target: Float[np.ndarray, "frames n 3"]
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, " frames"], Float[np.ndarray, "frames 3"]]:
    """Fits target = scale * rotation @ source + shift in the least-squares sense (Umeyama, 1991).

    Returns:
        rotation, scale and shift of each frame.
    """
    source_mean, target_mean = source.mean(0), target.mean(1)
    a, b = source - source_mean, target - target_mean[:, None]
    u, s, vt = np.linalg.svd(np.einsum("fni,nj->fij", b, a))
    sign = np.sign(np.linalg.det(u @ vt))  # no reflections
    s[:, 2] *= sign
    u[:, :, 2] *= sign[:, None]
    rotation = u @ vt
    scale = s.sum(1) / np.sum(a**2)
    return rotation, scale, target_mean - scale[:, None] * np.einsum("fij,j->fi", rotation, source_mean)


def orthographic_motions(
    shape: Float[np.ndarray, "n 3"], landmarks: Float[np.ndarray, "frames n 3"], focal: float
) -> Motions:
    """Returns initial motions, for which the tracker's 3-D landmarks count as a scaled orthographic view of `shape`.

    Args:
        shape: points in the head's frame.
        landmarks: the same points as tracked, px from the centre of the picture, x right, y up, z towards the camera.
        focal: focal length, px; the depth is focal / scale.
    """
    rotation, scale, shift = similarity(shape, landmarks)
    return Motions(rotation, np.stack([shift[:, 0] / scale, shift[:, 1] / scale, -focal / scale], 1))
