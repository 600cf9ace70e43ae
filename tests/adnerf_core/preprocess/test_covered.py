"""Frames with something before the mouth are found."""

import cv2
import numpy as np
import pytest

from adnerf_core.files.images import read_rgb
from adnerf_core.preprocess.covered import HIDDEN_MARGIN, LowerFace, covered, fixed_share, unusual
from tests.adnerf_core.toy import FOCAL, FRAMES, SIZE


def test_a_hand_before_the_mouth_is_found(toy_dataset):
    track, hands = toy_dataset.track(), (20, 21, 22)
    lower_face, colors = LowerFace(track.canonical_landmarks, track.pose, FOCAL, SIZE), []
    for k in range(FRAMES):
        picture = read_rgb(toy_dataset.root / "frames" / f"{k:06d}.jpg")
        if k in hands:
            cv2.line(picture, (22, 27), (34, 40), (235, 150, 120), 5)
        colors.append(lower_face.colors(picture, track.pose[k]))
    hidden = covered(np.array(colors)[:, 0], np.arange(FRAMES), FRAMES)
    assert np.flatnonzero(hidden).tolist() == list(range(20 - HIDDEN_MARGIN, 23 + HIDDEN_MARGIN))


@pytest.mark.parametrize("stands", [False, True])
def test_a_microphone_on_a_stand_is_found(toy_dataset, stands):
    track = toy_dataset.track()
    lower_face, colors = LowerFace(track.canonical_landmarks, track.pose, FOCAL, SIZE), []
    for k in range(FRAMES):
        picture = read_rgb(toy_dataset.root / "frames" / f"{k:06d}.jpg")
        if stands:
            cv2.circle(picture, (24, 33), 4, (60, 60, 70), -1)
        colors.append(lower_face.colors(picture, track.pose[k]))
    share = fixed_share(np.array(colors))
    assert share > 0.03 if stands else share < 0.01, share


def test_changes_of_light_and_speech_cover_nothing_but_a_tenth_of_covered_frames_is_found():
    generator = np.random.default_rng(0)
    light, speech = generator.normal(1, 0.1, (300, 1)), generator.normal(0, 0.05, (300, 4))
    face, shapes = generator.uniform(0.3, 0.7, 240), generator.normal(0, 1, (4, 240))
    colors = (light * face + speech @ shapes + generator.normal(0, 0.01, (300, 240))).astype(np.float32)
    assert not unusual(colors).any()
    colors[100:130, :60] = generator.uniform(0, 1, 60)
    assert np.flatnonzero(unusual(colors)).tolist() == list(range(100, 130))


def test_a_frame_between_those_without_a_mesh_is_hidden_with_them():
    generator = np.random.default_rng(1)
    numbers = np.array([k for k in range(200) if k not in (80, 82, 83, 150, 151)])
    colors = (generator.uniform(0.3, 0.7, 240) + generator.normal(0, 0.01, (len(numbers), 240))).astype(np.float32)
    for k in (81, 84, 120):  # a single frame elsewhere is a rare shape of the mouth
        colors[numbers == k, :60] = generator.uniform(0, 1, 60)
    hidden = covered(colors, numbers, 200)
    assert np.flatnonzero(hidden).tolist() == list(range(81 - HIDDEN_MARGIN, 85 + HIDDEN_MARGIN))
