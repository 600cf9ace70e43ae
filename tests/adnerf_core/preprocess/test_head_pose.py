"""Head poses of a synthetic head, whose motions and camera are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from adnerf_core.face.landmarks import (
    CHIN,
    EYE_CORNERS,
    FOREHEAD_TOP,
    LEFT_EYE,
    NUM_LANDMARKS,
    RIGHT_EYE,
    RIGID_LANDMARKS,
)
from adnerf_core.preprocess import expression
from adnerf_core.preprocess.head_pose import FOCAL_PRIOR, estimate_head_poses
from adnerf_core.preprocess.rigid_motions import Motions, project_centred

SIZE = 256
FOCAL = FOCAL_PRIOR * SIZE
FRAMES = 120


def synthetic_head() -> np.ndarray:
    """478 points on the front of an ellipsoid, with eyes, forehead and chin where they belong; eye corners 1 apart."""
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.7, 0.7, NUM_LANDMARKS), rng.uniform(-1.0, 0.8, NUM_LANDMARKS)
    head = np.stack([x, y, 0.8 * np.sqrt(np.maximum(0, 1 - (x / 0.9) ** 2 - (y / 1.3) ** 2))], 1)
    head[list(EYE_CORNERS)] = [(-0.5, 0.2, 0.3), (0.5, 0.2, 0.3)]
    head[[FOREHEAD_TOP, CHIN]] = [(0, 0.9, 0.4), (0, -1.0, 0.4)]
    return head - head[list(RIGID_LANDMARKS)].mean(0)


def synthetic_motions(turns_deg: np.ndarray, places: np.ndarray) -> Motions:
    """turns_deg [frames, 3]: yaw, pitch, roll; places [frames, 3]: head in the camera's frame."""
    return Motions(Rotation.from_euler("yxz", turns_deg, degrees=True).as_matrix(), places)


def swaying(frames: int = FRAMES) -> Motions:
    t = np.arange(frames) / 25
    turns = np.stack([12 * np.sin(2.1 * t), 6 * np.sin(3.3 * t + 1), 4 * np.sin(1.7 * t)], 1)
    places = np.stack([0.2 * np.sin(1.3 * t), 0.1 * np.cos(2 * t), -6 + 0.2 * np.sin(t)], 1)
    return synthetic_motions(turns, places)


def observe(motions: Motions, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and flow as a tracker gives them: each frame's landmarks are off by `noise` px, also all together.

    The flow of the picture is a tenth as noisy.
    """
    rng = np.random.default_rng(seed)
    head = synthetic_head()
    seen = project_centred(head, FOCAL, motions) * (1, -1) + SIZE / 2
    depth = -(head @ motions.rotation[:, 2].T).T * (FOCAL / -motions.translation[:, 2])[:, None]
    flow = np.diff(seen[:, list(RIGID_LANDMARKS)], axis=0, prepend=np.nan)
    flow += 0.1 * noise * rng.standard_normal(flow.shape)
    together = rng.standard_normal((len(seen), 1, 2))
    seen = seen + noise * (rng.standard_normal(seen.shape) + together) / np.sqrt(2)
    return np.concatenate([seen, depth[..., None]], -1), flow


def turn_error_deg(estimated: Motions, true: Motions) -> np.ndarray:
    """Angle between the estimated and the true rotation of each frame, apart from a constant difference of the head's axes."""
    off = Rotation.from_matrix(true.rotation).inv() * Rotation.from_matrix(estimated.rotation)
    return np.degrees((off * off.mean().inv()).magnitude())


def test_known_motions_are_recovered():
    """Within 0.3 degrees and 0.03 units (z: 0.15, it follows the focal length), from landmarks 0.5 px off at 256 px."""
    true = swaying()
    landmarks, flow = observe(true, noise=0.5)
    head = estimate_head_poses(landmarks, flow, SIZE)
    assert head.valid.all()
    assert turn_error_deg(head.motions, true).max() < 0.3
    off = head.motions.translation - true.translation
    assert np.abs(off[:, :2]).max() < 0.03 and np.abs(off[:, 2]).max() < 0.15
    assert head.focal == pytest.approx(FOCAL, rel=0.05)
    rigid = synthetic_head()[list(RIGID_LANDMARKS)]
    assert np.linalg.norm(head.points - rigid, axis=1).max() < 0.1
    assert head.error_px == pytest.approx(512 / SIZE * 0.5, rel=0.1)  # the noise that was put in, and no more


def test_axes_and_units():
    landmarks, flow = observe(synthetic_motions(np.zeros((60, 3)), np.tile((0.0, 0, -6), (60, 1))), noise=0.1)
    head = estimate_head_poses(landmarks, flow, SIZE)
    frontal = head.motions.camera_to_world()[0]
    np.testing.assert_allclose(frontal[:3, :3], np.eye(3), atol=0.05)
    np.testing.assert_allclose(frontal[:3, 3], (0, 0, 6), atol=0.35)
    right, left = (RIGID_LANDMARKS.index(corner) for corner in EYE_CORNERS)
    np.testing.assert_allclose(np.linalg.norm(head.points[left] - head.points[right]), 1)
    assert head.points[left, 0] > 0 > head.points[right, 0]
    np.testing.assert_allclose(head.points.mean(0), 0, atol=1e-9)


def test_yaw_is_positive_to_the_persons_left():
    left = synthetic_motions(np.array([[10.0, 0, 0]]), np.array([[0.0, 0, -6]]))
    assert left.yaw_deg() == pytest.approx([10])
    nose = project_centred(np.array([[0, 0, 1.0]]), FOCAL, left)[0, 0]
    assert nose[0] > 0  # right in the picture


def test_a_still_head_does_not_shake():
    """Landmarks jitter by 0.8 px; the pose moves the head by less than a fifth of that."""
    landmarks, flow = observe(synthetic_motions(np.zeros((FRAMES, 3)), np.tile((0.0, 0, -6), (FRAMES, 1))), noise=0.8)
    head = estimate_head_poses(landmarks, flow, SIZE)
    seen = project_centred(head.points, head.focal, head.motions)
    step = np.diff(seen, axis=0)
    assert np.sqrt(np.mean(np.sum(step**2, -1))) < 0.16
    jitter = np.diff(landmarks[:, list(RIGID_LANDMARKS), :2], axis=0)
    assert np.sqrt(np.mean(np.sum(jitter**2, -1))) > 1.0


def test_fast_motion_is_followed_without_lag_or_damping():
    """A shake of 15 degrees within 0.2 s keeps nine tenths of its size, and its place in time."""
    turns = np.zeros((FRAMES, 3))
    turns[60:66, 0] = 15 * np.sin(np.pi * np.arange(6) / 6)
    true = synthetic_motions(turns, np.tile((0.0, 0, -6), (FRAMES, 1)))
    head = estimate_head_poses(*observe(true, noise=0.5), SIZE)
    yaw = head.motions.yaw_deg() - np.median(head.motions.yaw_deg())
    assert np.argmax(yaw) == 63
    assert yaw.max() > 13.5


def test_missing_frames_are_filled_in_and_outliers_are_left_out():
    true = swaying()
    landmarks, flow = observe(true, noise=0.3)
    missing = [40, 41, 42, 43, 80]
    landmarks[missing], flow[missing], flow[[k + 1 for k in missing]] = np.nan, np.nan, np.nan
    landmarks[100] += np.random.default_rng(1).normal(0, 8, landmarks[100].shape)
    head = estimate_head_poses(landmarks, flow, SIZE)
    assert sorted(np.flatnonzero(~head.valid)) == [*missing, 100]
    assert turn_error_deg(head.motions, true).max() < 1.0
    assert np.isfinite(head.motions.camera_to_world()).all()


def test_landmarks_without_head_pose_stand_still_while_the_head_turns():
    """Points of a rigid head keep their place within 0.03 units over turns of 12 degrees."""
    true = swaying()
    landmarks, flow = observe(true, noise=0.0)
    head = estimate_head_poses(landmarks, flow, SIZE)
    canonical = expression.remove_head_pose(landmarks, head, SIZE)
    assert canonical.std(0).max() < 0.03
    face = synthetic_head()
    np.testing.assert_allclose(canonical.mean(0)[:, :2], face[:, :2], atol=0.06)
    head.valid[7] = False
    assert np.isnan(expression.remove_head_pose(landmarks, head, SIZE)[7]).all()


def test_eyes_open_and_shut():
    canonical = np.zeros((50, NUM_LANDMARKS, 3), np.float32)
    gap = np.full(50, 0.1)
    gap[20:23] = 0.02
    for (outer, inner), lids in (RIGHT_EYE, LEFT_EYE):
        canonical[:, outer, 0], canonical[:, inner, 0] = 0, 0.3
        for upper, lower in lids:
            canonical[:, upper, 1], canonical[:, lower, 1] = gap / 2, -gap / 2
    valid = np.ones(50, bool)
    valid[21] = False
    openness, (shut, wide) = expression.eye_openness(canonical, valid)
    assert wide == pytest.approx(1 / 3, abs=1e-3) and shut < 0.1
    assert openness[:20] == pytest.approx(np.ones(20)) and openness[20:23].max() < 0.1
