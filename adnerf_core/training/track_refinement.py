"""TrackRefinement: the corrections of a track that pose refinement estimates, and how they are applied, interpolated and smoothed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from adnerf_core.data.dataset import Track

CORRECTION_SIGMA = 2.0
"""Standard deviation, frames, of the temporal smoothing of pose corrections and exposures: the tracker's error changes slowly with pose
and expression, while the error of an estimate differs from frame to frame. Unmeasured."""
POSE_SIGMA = 0.5
"""Standard deviation, frames, of the temporal smoothing of the poses that are rendered. It removes 6 % of the head's jitter at no
measurable cost; 1.0 would cost .07 dB (docs/decisions/0017-sharper-portrait.md)."""
KERNEL_RADIUS = 3
"""Radius of the smoothing kernel, standard deviations; the 0.3 % of a Gaussian beyond it are left out."""
OUTLIER_RATIO = 2.5
"""A frame whose residual is more than this times the median shows something else than the others (a hand, a flash, a cut), and is not
learned from. Larger ratios would keep such frames, smaller ones would drop frames of rare poses. Unmeasured."""

STORED_NAMES = {"pose_delta": "change", "exposure": "exposure", "residual": "misfit"}
"""Field of TrackRefinement -> its key in a checkpoint."""


class TrackRefinement(NamedTuple):
    """Estimates for each frame.

    Attributes:
        pose_delta: correction of the tracked pose, see `apply_pose_delta`.
        exposure: brightness of each channel relative to the median frame.
        residual: mean absolute error of the colours, 0..1, at the poses before the last step.
    """

    pose_delta: Float[Tensor, "frames 6"]
    exposure: Float[Tensor, "frames 3"]
    residual: Float[Tensor, " frames"]

    @classmethod
    def identity(cls, frames: int, device: torch.device | str) -> TrackRefinement:
        """Returns the refinement that changes nothing."""
        exposure = torch.ones((frames, 3), device=device)
        return cls(torch.zeros((frames, 6), device=device), exposure, torch.zeros(frames, device=device))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TrackRefinement:
        """Returns the refinement that a checkpoint stores."""
        return cls(**{field: tensors[stored] for field, stored in STORED_NAMES.items()})

    def to_tensors(self) -> dict[str, Tensor]:
        """Returns the tensors for a checkpoint, by their stored names."""
        return {stored: getattr(self, field) for field, stored in STORED_NAMES.items()}

    def to(self, device: torch.device | str) -> TrackRefinement:
        """Returns a copy on another device."""
        return TrackRefinement(*(values.to(device) for values in self))

    def select(self, indices: Int[Tensor, " chosen"]) -> TrackRefinement:
        """Returns the refinement of some of the frames."""
        return TrackRefinement(*(values[indices] for values in self))

    def interpolate(self, indices: Int[Tensor, " frames"], count: int) -> TrackRefinement:
        """Returns the refinement of `count` frames, of which this one knows those at `indices` (ascending)."""
        known = indices.cpu().numpy()
        pose_delta, exposure, residual = (
            torch.from_numpy(interpolate(values.reshape(len(known), -1).cpu().numpy(), known, count))
            .float()
            .to(indices.device)
            for values in self
        )
        return TrackRefinement(pose_delta, exposure, residual[:, 0])

    def inliers(self) -> Int[Tensor, " inliers"]:
        """Returns the indices of the frames whose residual is at most OUTLIER_RATIO times the median."""
        return (self.residual <= OUTLIER_RATIO * self.residual.median()).nonzero()[:, 0]


def apply_pose_delta(poses: Float[Tensor, "*#n 4 4"], delta: Float[Tensor, "*#n 6"]) -> Float[Tensor, "*#n 4 4"]:
    """Rotates camera-to-world poses about the head's origin, then shifts them: R' = exp([w]x) R and t' = exp([w]x) t + v.

    Args:
        poses: camera-to-world in the head frame.
        delta: (w, v): a rotation vector, rad, and a translation, head units, both along the axes of the head frame.
    """
    x, y, z = delta[..., :3].unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    top = torch.linalg.matrix_exp(cross) @ poses[..., :3, :]
    top = torch.cat([top[..., :3], top[..., 3:] + delta[..., 3:, None]], -1)
    return torch.cat([top, poses[..., 3:, :].expand(*top.shape[:-2], 1, 4)], -2)


def refine_track(track: Track, numbers: Int[ndarray, " n"], deltas: Float[ndarray, "n 6"]) -> Track:
    """Applies pose corrections to a track.

    Args:
        track: the track as tracked.
        numbers: the frames that have a correction, ascending. The corrections of the others are interpolated.
        deltas: see `apply_pose_delta`.
    """
    delta = torch.from_numpy(interpolate(deltas, numbers, len(track.pose))).double()
    pose = apply_pose_delta(torch.from_numpy(track.pose).double(), delta).numpy()
    return replace(track, pose=pose.astype(track.pose.dtype))


def smooth_poses(poses: Float[Tensor, "frames 4 4"]) -> Float[Tensor, "frames 4 4"]:
    """Smooths poses over time by POSE_SIGMA.

    Rotation matrices are averaged by their elements; the mean U S V^T (singular value decomposition) is then replaced by U V^T, the
    nearest rotation.
    """
    mean = smooth_over_time(poses.flatten(1), POSE_SIGMA).view_as(poses)
    left, _, right = torch.linalg.svd(mean[:, :3, :3])
    mean[:, :3, :3], mean[:, 3] = left @ right, poses[:, 3]
    return mean


def smooth_over_time(values: Float[Tensor, "frames n"], sigma: float = CORRECTION_SIGMA) -> Float[Tensor, "frames n"]:
    """Convolves each column with a Gaussian of `sigma` frames; the first and the last frame are repeated outside.

    scipy.ndimage.gaussian_filter1d does the same, but not on a GPU, and rounds differently, which would change trained weights.
    """
    radius = math.ceil(KERNEL_RADIUS * sigma)
    offsets = torch.arange(-radius, radius + 1, device=values.device, dtype=values.dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    padded = F.pad(values.T[:, None], (radius, radius), mode="replicate")
    return F.conv1d(padded, (kernel / kernel.sum())[None, None])[:, 0].T


def interpolate(values: Float[ndarray, "known n"], known: Int[ndarray, " known"], count: int) -> ndarray:
    """Returns values for frames 0 .. `count`, linear between the frames `known` and constant outside them."""
    times = np.arange(count)
    return np.stack([np.interp(times, known, column) for column in values.T], -1)
