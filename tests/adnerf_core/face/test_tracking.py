"""Face trackers on a portrait that is moved by a known amount."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adnerf_core.errors import MissingBackend
from adnerf_core.face import tracking
from adnerf_core.face.landmarks import CHIN, EYE_CORNERS, FOREHEAD_TOP, NUM_LANDMARKS
from tests.adnerf_core import clips

TASK = Path(__file__).parents[4] / "shared" / "models" / "face_landmarker.task"


def moving(count: int, step: int) -> list[np.ndarray]:
    """A portrait that moves to the right by `step` px a frame."""
    picture = clips.portrait(320)
    return [np.ascontiguousarray(np.roll(picture, step * k, axis=1)) for k in range(count)]


def follow(name: str, model: str | None, frames: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    tracked = list(tracking.track(frames, tracking.load_tracker(name, model)))
    assert all(got is frame for (got, _, _), frame in zip(tracked, frames, strict=True))
    return np.array([landmarks for _, landmarks, _ in tracked]), np.array([flow for _, _, flow in tracked])


def assert_on_the_face(landmarks: np.ndarray) -> None:
    """The mesh sits on the astronaut's face as it lies in the portrait."""
    assert landmarks.shape == (NUM_LANDMARKS, 3)
    right, left = landmarks[list(EYE_CORNERS), :2]
    forehead, chin = landmarks[[FOREHEAD_TOP, CHIN], :2]
    assert 40 < left[0] - right[0] < 80  # the person's left is right in the picture
    assert 90 < chin[1] - forehead[1] < 140
    mouth = landmarks[[13, 14], :2].mean(0)
    np.testing.assert_allclose(mouth, np.array(clips.MOUTH) - (62, 0), atol=8)


@pytest.mark.parametrize("name", ["facemesh", "landmarker"])
def test_landmarks_and_flow_follow_the_face(name, capfd):
    if name == "landmarker" and not TASK.exists():
        pytest.skip("../shared/models/face_landmarker.task is not here")
    landmarks, flow = follow(name, str(TASK), moving(6, step=3))
    assert_on_the_face(landmarks[0])
    shift = landmarks[5, :, :2].mean(0) - landmarks[0, :, :2].mean(0)
    np.testing.assert_allclose(shift, (15, 0), atol=1.5)
    assert np.isnan(flow[0]).all()
    assert np.isfinite(flow[1:]).mean() > 0.8
    np.testing.assert_allclose(np.nanmedian(flow[1:], axis=(0, 1)), (3, 0), atol=0.05)
    assert capfd.readouterr().err == ""


def test_frames_without_a_face_are_missing_and_break_the_flow():
    frames = moving(6, step=1)
    frames[3] = np.full_like(frames[3], 128)
    landmarks, flow = follow("facemesh", None, frames)
    assert np.isnan(landmarks[3]).all() and np.isfinite(landmarks[[0, 1, 2, 4, 5]]).all()
    assert np.isnan(flow[[0, 3, 4]]).all() and np.isfinite(flow[5]).any()


@pytest.mark.parametrize("model", [None, "/nowhere/face_landmarker.task", __file__])
def test_a_missing_or_wrong_model_file_is_reported_with_a_remedy(model):
    with pytest.raises(MissingBackend, match=r"face_landmarker\.task") as caught:
        tracking.load_tracker("landmarker", model)
    assert "tracker_model" in caught.value.remedy
