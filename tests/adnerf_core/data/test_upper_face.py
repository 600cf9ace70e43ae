"""Track.upper_face: each eye by itself, brows, and the gaze."""

import dataclasses

import numpy as np
import pytest

from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.face.landmarks import BROW_POINTS, IRISES, LEFT_EYE, RIGHT_EYE
from tests.adnerf_core.toy import FRAMES


@pytest.fixture
def track(toy_dataset: SubjectDataset) -> Track:
    """Eyes that stay open and look straight ahead."""
    landmarks = np.zeros((FRAMES, 478, 3), np.float32)
    for x, (corners, lids), iris in zip((-0.4, 0.4), (RIGHT_EYE, LEFT_EYE), IRISES, strict=True):
        for corner, side in zip(corners, (np.copysign(0.1, x), np.copysign(0.1, -x)), strict=True):
            landmarks[:, corner, 0] = x + side
        for upper, lower in lids:
            landmarks[:, upper, :2], landmarks[:, lower, :2] = (x, 0.03), (x, -0.03)
        landmarks[:, iris, 0] = x
    landmarks[:, BROW_POINTS, 1] = 0.3
    return dataclasses.replace(toy_dataset.track(), valid=np.ones(FRAMES, bool), canonical_landmarks=landmarks)


def shut(track: Track, eye: tuple, frames: slice) -> None:
    for upper, lower in eye[1]:
        track.canonical_landmarks[frames, [upper], 1] = 0.002
        track.canonical_landmarks[frames, [lower], 1] = -0.002


def test_a_wink_shuts_one_eye(track: Track):
    shut(track, RIGHT_EYE, slice(30, 35))
    right, left = track.upper_face()[:, :2].T
    assert (right[30:35] == -1).all() and (np.delete(right, range(30, 35)) == 1).all() and (left == 1).all()


def test_the_gaze_follows_the_irises_and_not_the_lids(track: Track):
    x = np.sin(np.arange(FRAMES) / 8) * 0.02
    track.canonical_landmarks[:, IRISES, 0] += x[:, None]
    track.canonical_landmarks[:, IRISES, 1] -= x[:, None] / 2
    before = track.upper_face()
    assert np.corrcoef(before[:, 3], x)[0, 1] > 0.99 and np.corrcoef(before[:, 4], -x)[0, 1] > 0.99
    assert 0.9 < np.abs(before[:, 3]).max() < 1.5
    for eye in (RIGHT_EYE, LEFT_EYE):
        shut(track, eye, slice(30, 34))
    track.canonical_landmarks[30:34, IRISES] = 0.5  # behind shut lids the tracker's irises are anywhere
    assert np.abs(track.upper_face()[:, 3:] - before[:, 3:]).max() < 0.15


def test_a_frame_without_a_face_takes_its_neighbours_values(track: Track):
    track.valid[50:52], track.canonical_landmarks[50:52] = False, np.nan
    assert np.isfinite(track.upper_face()).all()
