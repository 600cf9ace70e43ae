"""The motion of the face without the motion of the head."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from adnerf_core.cameras.depth_plane import points_at_depth
from adnerf_core.face.eyes import eye_aspect_ratio, openness
from adnerf_core.preprocess.head_pose import HeadTrack


def remove_head_pose(
    landmarks: Float[np.ndarray, "frames landmarks 3"], track: HeadTrack, size: int
) -> Float[np.ndarray, "frames landmarks 3"]:
    """Transforms landmarks to the head's frame.

    Each landmark is placed where its line of sight reaches the depth that it has in the mean face. So the tracker's noise
    stays in the plane of the picture, and is not amplified along the line of sight.

    Args:
        landmarks: x, y in px of the frame, NaN if there are none; z is not used.
        track: the poses and the mean face.
        size: edge of the frame, px.

    Returns:
        Landmarks in head units; NaN in frames whose pose is not valid.
    """
    poses, center = track.motions.camera_to_world(), (size / 2, size / 2)
    out = points_at_depth(landmarks[..., :2], track.face[:, 2], poses, track.focal, center).astype(np.float32)
    out[~track.valid] = np.nan
    return out


def eye_openness(
    canonical: Float[np.ndarray, "frames landmarks 3"], valid: Bool[np.ndarray, " frames"]
) -> tuple[Float[np.ndarray, " frames"], tuple[float, float]]:
    """Measures how open the eyes are.

    Args:
        canonical: landmarks in the head's frame, as remove_head_pose() returns them.
        valid: which frames have landmarks.

    Returns:
        The openness per frame, 0 (shut) to 1 (wide), interpolated where not valid; and the aspect ratios of (shut, wide).
    """
    measured, ratios = openness(eye_aspect_ratio(canonical[valid]))
    frames = np.arange(len(valid))
    return np.interp(frames, frames[valid], measured).astype(np.float32), ratios
