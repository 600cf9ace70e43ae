"""The demo: its speech, its lips, its speaker."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core import media
from adnerf_core.preprocess.trackers.facemesh import FaceMesh
from demo.lips import mouth_track
from demo.portrait import Puppet, Shape
from demo.speaker import WIDEST, perform
from demo.speech import Phoneme, Speech, speak


@pytest.fixture(scope="module")
def sentence() -> Speech:
    return speak("Mop a map.")


@pytest.fixture(scope="module")
def puppet() -> Puppet:
    return Puppet(256)


def test_speech_has_sound_where_its_phonemes_are(sentence):
    assert sentence.rate == 22050 and 0.05 < np.abs(sentence.samples).max() <= 1
    names = [p.name for p in sentence.phonemes if p.name]
    assert names[0] == "m" and names.count("p") == 2 and names.count("m") == 2
    starts = [p.start for p in sentence.phonemes]
    assert starts == sorted(starts) and starts[0] >= 0.25 and starts[-1] <= sentence.seconds
    loud = np.flatnonzero(np.abs(sentence.samples) > 0.02) / sentence.rate
    assert loud[0] == pytest.approx(next(p.start for p in sentence.phonemes if p.name), abs=0.06)


def test_speech_refuses_an_unknown_voice():
    with pytest.raises(ValueError, match="xx-nobody"):
        speak("Hello.", voice="xx-nobody")


def test_lips_close_on_m_and_open_on_a():
    phonemes = [Phoneme("m", 0.5), Phoneme("ɑː", 0.6), Phoneme("p", 0.9), Phoneme("uː", 1.0), Phoneme("", 1.3)]
    times = np.arange(0, 2, 0.01)
    opening, rounding = mouth_track(phonemes, times)
    at = dict(zip(np.round(times, 2), zip(opening, rounding, strict=True), strict=True))
    assert opening.min() >= 0 and opening.max() <= 1 and np.abs(rounding).max() <= 1
    assert at[0.51][0] < 0.02 and at[0.91][0] < 0.02 and at[0.71][0] > 0.8  # 40 ms before they are heard
    assert at[1.11][1] > 0.8 and at[0.71][1] < 0.2
    assert at[0.0][0] < 0.1 and at[1.9][0] < 0.1


def test_movement_is_the_same_for_the_same_seed(sentence):
    first, again, other = perform(sentence, 1), perform(sentence, 1), perform(sentence, 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.yaw, other.yaw) and np.array_equal(first.opening, other.opening)
    assert len(first.yaw) == round(sentence.seconds * 25) and 0 <= first.eyes.min() <= 1 and first.opening.max() <= WIDEST


def test_background_keeps_still_behind_a_moving_head(puppet):
    frames = [puppet(Shape(yaw=yaw, pitch=3, x=0.03, opening=0.1)) for yaw in (-8, 0, 8)]
    assert all(frame.shape == (256, 256, 3) and frame.dtype == np.uint8 for frame in frames)
    corners = [np.concatenate([frame[:60, :50], frame[:60, -50:]]) for frame in frames]
    assert np.array_equal(corners[0], corners[1]) and np.array_equal(corners[1], corners[2])
    face = [frame[70:150, 90:160].astype(float) for frame in frames]
    assert np.abs(face[0] - face[2]).mean() > 8


def test_head_turns_the_way_its_shape_says(puppet):
    tracker = FaceMesh()
    found = {}
    for name, shape in {"still": Shape(), "yaw": Shape(yaw=8), "pitch": Shape(pitch=8), "roll": Shape(roll=8)}.items():
        for _ in range(5):  # the tracker smooths over time: let it arrive
            found[name] = tracker(puppet(shape))
    tracker.close()
    nose = {name: points[1, :2] - points[[33, 263], :2].mean(0) for name, points in found.items()}
    tilt = {name: np.degrees(np.arctan2(*(points[263, :2] - points[33, :2])[::-1])) for name, points in found.items()}
    assert nose["yaw"][0] - nose["still"][0] > 2  # to its own left, the picture's right
    assert nose["pitch"][1] - nose["still"][1] < -1.5  # up
    assert tilt["roll"] - tilt["still"] == pytest.approx(8, abs=1.5)  # clockwise


def test_a_tracker_sees_what_the_speaker_does(speaker_video):
    tracker = FaceMesh()
    seen = [tracker(frame) for frame in media.read_frames(speaker_video.path)]
    tracker.close()
    assert len(seen) == len(speaker_video.truth.opening) == 225 and all(points is not None for points in seen)
    points = np.array(seen)
    unit = np.median(np.linalg.norm(points[:, 33] - points[:, 263], axis=1))
    opening = np.linalg.norm(points[:, 13] - points[:, 14], axis=1) / unit
    eyes = np.linalg.norm(points[:, 159] - points[:, 145], axis=1) / unit
    assert np.corrcoef(opening, speaker_video.truth.opening)[0, 1] > 0.85
    assert np.corrcoef(eyes, speaker_video.truth.eyes)[0, 1] > 0.8
    sound = media.extract_audio(speaker_video.path)
    assert len(sound) == pytest.approx(9 * 16000, abs=16) and np.abs(sound).max() > 0.1
