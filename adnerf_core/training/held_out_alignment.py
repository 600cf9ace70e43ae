"""align_held_out: the best estimate of how head and torso move in held-out frames, with a finished model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.data.dataset import SubjectDataset, Track, face_boxes
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.training.pose_refinement import AlignmentFrames, refine_poses
from adnerf_core.training.torso_refinement import refine_torso
from adnerf_core.training.track_refinement import TrackRefinement, apply_pose_delta, smooth_poses

HELD_OUT_ROUNDS = 4
"""Number of steps that refine held-out poses, the same as in training (REFINE_AT in talking_head_task.py)."""


def align_held_out(
    model: TalkingHead, dataset: SubjectDataset, track: Track, frames: ndarray, codes: Float[Tensor, "frames code"]
) -> Track:
    """Refines the poses and the torso's motion in held-out frames; the model does not change.

    As in published evaluations, the motion of held-out frames is given and not predicted, so it should be the best estimate.

    Args:
        model: the finished model.
        dataset: the footage.
        track: the track of the footage.
        frames: the valid held-out frames, ascending.
        codes: the lip codes of these frames, predicted from the audio.

    Returns:
        The track with the refined poses and motion at `frames`.
    """
    device, size = model.device, model.geometry.camera.width
    numbers = [int(frame) for frame in frames]
    upper_face = torch.from_numpy(track.upper_face()[frames]).to(device)
    alignment = AlignmentFrames(
        indices=torch.arange(len(frames), device=device),
        images=torch.from_numpy(np.stack([dataset.picture(k, size) for k in numbers])).to(device),
        masks=torch.from_numpy(np.stack([dataset.mask(k, size) for k in numbers])).to(device),
        mouth_boxes=torch.from_numpy(np.stack([face_boxes(dataset, track, k, size)[0] for k in numbers])).to(device),
        condition=model.condition(codes, upper_face),
        background=torch.from_numpy(dataset.background(size)).to(device) / 255,
    )
    poses = torch.from_numpy(track.pose[frames]).float().to(device)
    refinement, generator = TrackRefinement.identity(len(frames), device), torch.Generator().manual_seed(0)
    for _ in range(HELD_OUT_ROUNDS):
        refinement = refine_poses(model, alignment, poses, refinement, generator)
    refined = smooth_poses(apply_pose_delta(poses, refinement.pose_delta))
    motion = torch.from_numpy(track.torso[frames]).float().to(device)
    exposure = torch.ones((len(frames), 3), device=device)
    motion = motion + refine_torso(model, alignment, refined, motion, exposure, generator)
    pose, torso = track.pose.copy(), track.torso.copy()
    pose[frames], torso[frames] = refined.cpu().numpy(), motion.cpu().numpy()
    return replace(track, pose=pose, torso=torso)
