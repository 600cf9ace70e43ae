"""The parts of the footage check: cuts, the crop, the camera."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import SilentAudio
from adnerf_core.preprocess import footage_check


def test_cuts_are_jumps_that_stay():
    changes = np.abs(np.random.default_rng(0).normal(1.0, 0.3, 200))
    assert footage_check.find_cuts(changes) == []
    changes[49] = 20  # a cut
    changes[[99, 101]] = 20  # a flash of two frames
    changes[150:160] = 14  # a quick gesture
    assert footage_check.find_cuts(changes) == [50]
    changes[0] = changes[-1] = 30
    assert footage_check.find_cuts(changes) == [1, 50, 200]


@pytest.mark.parametrize(
    ("face", "picture", "expected"),
    [
        ((150, 130, 250, 250), (512, 512), (0, 0, 512, 512)),  # a portrait already
        ((700, 200, 300, 300), (1920, 1080), (505, 20, 690, 690)),
        ((0, 0, 200, 200), (1280, 720), (0, 0, 460, 460)),  # stays inside
        ((400, 700, 400, 400), (1080, 1920), (0, 380, 1080, 1080)),  # a telephone held upright
    ],
)
def test_the_crop_is_square_inside_and_shows_head_and_shoulders(face, picture, expected):
    faces = np.tile(np.array(face, float), (20, 1))
    crop = footage_check.choose_crop(faces, *picture)
    np.testing.assert_allclose(crop, expected, atol=2)
    assert crop[2] == crop[3] and crop[2] % 2 == 0
    assert crop[0] + crop[2] <= picture[0] and crop[1] + crop[3] <= picture[1]


def test_the_crop_leaves_room_for_movement():
    faces = np.tile(np.array((700, 200, 200, 200), float), (40, 1))
    faces[:, 0] += np.linspace(-100, 100, 40)
    x, _, edge, _ = footage_check.choose_crop(faces, 1920, 1080)
    assert edge > footage_check.CROP_FACES * 200 + 150
    assert x < 600 - 50 and x + edge > 1000 + 50


@pytest.mark.parametrize(("path", "moved"), [("still", 0.0), ("pan", 0.25), ("slow pan", 0.05), ("shake", 0.0125)])
def test_camera_motion_is_measured(path, moved):
    """A window of 400 px moves over a noisy picture; the person, who moves too, is masked out. Exact to 0.3 % of the width."""
    frames = 60
    x = {
        "still": np.zeros(frames),
        "pan": np.linspace(0, 100, frames),
        "slow pan": np.linspace(0, 20, frames),
        "shake": 5 * (np.arange(frames) // 8 % 2),
    }[path]
    picture, rng = astronaut().astype(float), np.random.default_rng(0)
    detector = footage_check.CameraMotionDetector()
    for k, left in enumerate(x.astype(int)):
        view = picture[:400, left : left + 400].copy()
        person = np.roll(picture[60:200, 180:280], int(10 * np.sin(k)), axis=1)
        view[60:200, 180 - left : 280 - left] = person
        noisy = np.clip(view + rng.normal(0, 3, view.shape), 0, 255).astype(np.uint8)
        detector.add_frame(noisy, (180.0 - left, 60.0, 100.0, 140.0))
    assert detector.shift == pytest.approx(moved, abs=0.003)


def test_silence_is_refused_and_a_whisper_is_not():
    noise = np.random.default_rng(0).standard_normal(SAMPLE_RATE).astype(np.float32)
    for silent in (np.zeros(SAMPLE_RATE, np.float32), 1e-4 * noise, noise[:0]):
        with pytest.raises(SilentAudio):
            footage_check.require_sound(silent)
    footage_check.require_sound(0.01 * noise)


def test_the_number_of_face_detections_is_bounded(monkeypatch):
    """However long the footage is."""
    detections = []

    class Detector:
        def __call__(self, frame):
            detections.append(1)
            return [(100.0, 60.0, 120.0, 120.0)]

        def close(self): ...

    monkeypatch.setattr(footage_check, "FaceDetector", Detector)
    monkeypatch.setattr(footage_check, "MAX_DETECTIONS", 20)
    monkeypatch.setattr(footage_check.CameraMotionDetector, "add_frame", lambda *_: None)
    frame = np.zeros((240, 320, 3), np.uint8)
    check = footage_check.check_footage((frame for _ in range(40 * FPS)), 320, 240, lambda done: None)
    assert check.frames == 40 * FPS and check.face_px == 120
    assert len(detections) < 50
