"""The parts of the footage check: the camera, the sound, the number of looks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import SilentAudio
from adnerf_core.preprocess import footage_check
from adnerf_core.preprocess.footage_report import face_appearance
from tests.adnerf_core import clips


@pytest.mark.parametrize(("path", "moved"), [("still", 0.0), ("pan", 0.25), ("slow pan", 0.05), ("shake", 0.0125)])
def test_camera_motion_is_measured(path, moved):
    """A window of 400 px moves over a noisy picture; the person, who moves too, is masked out. Exact to 0.3 % of the width and 2 % of the
    motion: of three pictures the median counts, which leaves out the last step of a pan."""
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
        detector.add_frame(noisy, [(180.0 - left, 60.0, 100.0, 140.0)])
    assert detector.shift == pytest.approx(moved, abs=0.003 + 0.02 * moved)


def test_a_large_person_is_no_moving_camera():
    """The background is two strips of a few pixels; in one picture of 40, foliage moves in the one that is seen best."""
    picture, rng = astronaut()[:400, :400].astype(float), np.random.default_rng(0)
    swayed = picture.copy()
    swayed[:300, :16] = cv2.resize(picture[6:300, :16], (16, 300))
    detector = footage_check.CameraMotionDetector()
    for k in range(40):
        noisy = (swayed if k == 20 else picture) + rng.normal(0, 2, picture.shape)
        detector.add_frame(np.clip(noisy, 0, 255).astype(np.uint8), [(104.0, 90.0, 188.0, 190.0)])
    assert detector.shift < 0.004


@pytest.mark.parametrize("known", [2, 1])
def test_people_who_move_beside_each_other_are_no_moving_camera(known):
    """Nor is a second person whose face is not known: most places of the wall stay where they are."""
    picture = cv2.resize(astronaut(), (800, 800))[:360, :640]
    wall = cv2.addWeighted(cv2.GaussianBlur(picture, (0, 0), 2), 0.3, picture, 0.0, 90)
    boxes = [(110.0, 120.0, 70.0, 90.0), (440.0, 130.0, 70.0, 90.0)][:known]
    detector = footage_check.CameraMotionDetector()
    for k in range(24):
        view = wall.copy()
        for x in (80, 410):
            view[60:, x : x + 130] = np.roll(picture[60:, x : x + 130], round(14 * np.sin(k / 3)), axis=1)
        detector.add_frame(view, boxes)
    assert detector.shift < 0.004


@pytest.mark.parametrize(("step_px", "moved"), [(0.0, 0.0), (0.5, 0.05)])
def test_a_person_who_fills_the_frame_is_masked_out_by_segmentation(step_px, moved):
    """The boxes would mask all but the top of the frame, where there is nothing; the clothes, which move, are not in them."""
    room = cv2.resize(astronaut(), (900, 900))[300:700].copy()
    room[:90] = 128
    found = np.zeros((256, 256), np.float32)
    found[100:, 40:216] = 1  # from 63 to 338 of 400 px, and from 156 px on
    detector = footage_check.CameraMotionDetector(lambda picture: found)
    for k in range(20):
        left = round(2 * k * step_px)
        view = room[:, left : left + 400].copy()
        view[160:, 66:334] = np.roll(room[160:400, 500:768], round(9 * np.sin(k)), axis=1)
        detector.add_frame(view, [(120.0, 160.0, 160.0, 170.0)])
    assert detector.shift == pytest.approx(moved * 0.9, abs=0.006)


def test_a_pan_is_measured_where_the_person_hides_what_was_seen():
    """The person, as wide as half the picture, follows the pan, and stays in its middle: the first picture soon shows nothing in common."""
    picture, rng = np.hstack([astronaut()] * 2).astype(float), np.random.default_rng(0)
    detector = footage_check.CameraMotionDetector()
    for k in range(60):
        view = picture[:400, 5 * k : 5 * k + 400] + rng.normal(0, 2, (400, 400, 3))
        detector.add_frame(np.clip(view, 0, 255).astype(np.uint8), [(120.0, 90.0, 160.0, 160.0)])
    assert detector.shift == pytest.approx(58 * 5 / 400, rel=0.05)


def test_sharpness_does_not_depend_on_light_or_noise():
    """The same face in a dim room and with noise is sharp; blurred, it is not, whatever the noise."""
    rng, picture = np.random.default_rng(0), clips.portrait(512).astype(float)
    face = np.zeros((478, 3), np.float32)
    face[:, 0], face[:, 1] = rng.uniform(180, 345, 478), rng.uniform(70, 290, 478)
    blurred = cv2.GaussianBlur(picture, (0, 0), 4)

    def sharpness(values, noise=0.0):
        noisy = values + rng.normal(0, noise, values.shape)
        return face_appearance(np.clip(noisy, 0, 255).astype(np.uint8), face)[0]

    sharp = sharpness(picture)
    assert sharpness(0.4 * picture) == pytest.approx(sharp, rel=0.05)
    assert sharpness(picture, noise=8) > 0.75 * sharp
    assert sharpness(blurred) < 0.65 * sharp and sharpness(blurred, noise=20) < 0.65 * sharp


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
    assert check.frames == 40 * FPS and check.faces[0].height == 120
    assert len(detections) < 50
