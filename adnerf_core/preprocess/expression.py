"""What the face does once the head's motion is taken out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from adnerf_core.face import landmarks as mesh
from adnerf_core.preprocess.bundle_adjustment import HeadTrack

BLINK = 0.5
"""Where nobody blinks in the footage, shut eyes are taken to be this part of wide ones (by aspect ratio), or less."""


def remove_head_pose(
    landmarks: Float[np.ndarray, "frames landmarks 3"], track: HeadTrack, size: int
) -> Float[np.ndarray, "frames landmarks 3"]:
    """Landmarks in the head's frame.

    landmarks: x, y in px of the frame, NaN if there are none. Each is put where its line of sight meets the depth that it has
    in the mean face: the noise of the picture stays in the picture's plane instead of being blown up along the line.
    """
    pose = track.motions.camera_to_world()
    centred = landmarks[..., :2].astype(np.float64) - size / 2
    sight = np.stack(
        [centred[..., 0] / track.focal, -centred[..., 1] / track.focal, -np.ones_like(centred[..., 0])], -1
    )
    sight = np.einsum("fij,fnj->fni", pose[:, :3, :3], sight)
    eye = pose[:, None, :3, 3]
    reach = (track.face[:, 2] - eye[..., 2]) / sight[..., 2]
    out = (eye + reach[..., None] * sight).astype(np.float32)
    out[~track.valid] = np.nan
    return out


def eye_openness(
    depose: Float[np.ndarray, "frames landmarks 3"], valid: Bool[np.ndarray, " frames"]
) -> tuple[Float[np.ndarray, " frames"], tuple[float, float]]:
    """How open the eyes are, 0 shut .. 1 wide, interpolated where not valid; and the aspect ratios of (shut, wide)."""
    ratios = []
    for (outer, inner), lids in (mesh.RIGHT_EYE, mesh.LEFT_EYE):
        heights = [np.linalg.norm(depose[:, upper] - depose[:, lower], axis=-1) for upper, lower in lids]
        ratios.append(np.mean(heights, axis=0) / np.linalg.norm(depose[:, outer] - depose[:, inner], axis=-1))
    ratio = np.mean(ratios, axis=0)[valid]
    wide = float(np.quantile(ratio, 0.9))
    shut = min(float(np.quantile(ratio, 0.005)), BLINK * wide)
    frames = np.arange(len(valid))
    openness = np.interp(frames, frames[valid], np.clip((ratio - shut) / (wide - shut), 0, 1))
    return openness.astype(np.float32), (shut, wide)
