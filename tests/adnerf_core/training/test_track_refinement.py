"""TrackRefinement: pose corrections are applied, interpolated, smoothed, and stored under the names of older checkpoints."""

import numpy as np
import torch

from adnerf_core.training.track_refinement import TrackRefinement, apply_pose_delta, refine_track, smooth_poses


def test_a_pose_delta_rotates_about_the_heads_origin_then_shifts():
    pose = torch.eye(4)
    pose[2, 3] = 10.0
    turned = apply_pose_delta(pose, torch.tensor([0.0, torch.pi / 2, 0.0, 0.0, 0.0, 1.0]))
    assert torch.allclose(turned[:3, 3], torch.tensor([10.0, 0.0, 1.0]), atol=1e-5)
    assert torch.allclose(turned[:3, :3] @ turned[:3, :3].T, torch.eye(3), atol=1e-5)
    assert torch.equal(apply_pose_delta(pose, torch.zeros(6)), pose)


def test_smoothing_keeps_the_motion_and_removes_jitter():
    times = torch.linspace(0, 3, 75)
    slow = torch.zeros(75, 6)
    slow[:, 1], slow[:, 3] = 0.3 * times.sin(), 0.1 * times
    noise = 0.01 * torch.randn(75, 6, generator=torch.Generator().manual_seed(0))
    start = torch.eye(4).expand(75, 4, 4)
    true, shaken = apply_pose_delta(start, slow), apply_pose_delta(start, slow + noise)
    calm = smooth_poses(shaken)
    assert (smooth_poses(true) - true)[3:-3].abs().max() < 1e-3
    assert (calm - true)[:, :3].square().mean() < 0.75 * (shaken - true)[:, :3].square().mean()
    turns = calm[:, :3, :3]
    assert torch.allclose(turns @ turns.transpose(1, 2), torch.eye(3).expand(75, 3, 3), atol=1e-5)
    assert torch.equal(calm[:, 3], start[:, 3])


def test_frames_without_a_correction_have_an_interpolated_one(toy_dataset):
    track = toy_dataset.track()
    change = np.zeros((2, 6), np.float32)
    change[1, 3] = 0.2
    refined = refine_track(track, np.array([0, 10]), change)
    shift = refined.pose[:, 0, 3] - track.pose[:, 0, 3]
    assert np.allclose(shift[[0, 5, 10, 20]], [0, 0.1, 0.2, 0.2], atol=1e-5)


def test_a_refinement_is_stored_under_the_names_of_older_checkpoints():
    refinement = TrackRefinement(torch.rand(3, 6), torch.rand(3, 3), torch.rand(3))
    tensors = refinement.to_tensors()
    assert tensors.keys() == {"change", "exposure", "misfit"}
    assert all(torch.equal(a, b) for a, b in zip(TrackRefinement.from_tensors(tensors), refinement, strict=True))


def test_interpolation_is_linear_between_known_frames_and_constant_outside():
    refinement = TrackRefinement(torch.tensor([[0.0] * 6, [2.0] * 6]), torch.ones(2, 3), torch.tensor([1.0, 3.0]))
    full = refinement.interpolate(torch.tensor([1, 3]), 5)
    assert full.pose_delta[:, 0].tolist() == [0, 0, 1, 2, 2]
    assert full.residual.tolist() == [1, 1, 2, 3, 3]
