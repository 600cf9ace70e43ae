"""Frames that do not show the face as the others do are not shown."""

import shutil

import cv2
import numpy as np
import pytest

from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.files.images import read_rgb, write_rgb
from adnerf_core.files.run_dir import read_json, write_json
from adnerf_core.training.trusted_frames import CUT_MARGIN, HIDDEN_MARGIN, covered, trusted_frames
from tests.adnerf_core.toy import FRAMES, HELD_OUT_FROM


@pytest.fixture
def dataset(toy_dataset, tmp_path):
    return SubjectDataset(shutil.copytree(toy_dataset.root, tmp_path / "dataset"))


def trusted(dataset, fits=None):
    return trusted_frames(dataset, dataset.track(), np.ones(FRAMES, bool) if fits is None else fits)


def test_all_frames_of_clean_footage_but_the_held_out_ones_are_trusted(dataset):
    assert np.flatnonzero(trusted(dataset)).tolist() == list(range(HELD_OUT_FROM))


def test_frames_that_the_head_does_not_fit_or_without_a_face_are_not(dataset):
    fits = np.arange(FRAMES) != 7
    assert np.flatnonzero(~trusted(dataset, fits)[:HELD_OUT_FROM]).tolist() == [7]


def test_a_hand_before_the_mouth_is_found(dataset):
    for k in (20, 21, 22):
        path = dataset.root / "frames" / f"{k:06d}.jpg"
        picture = read_rgb(path)
        cv2.line(picture, (22, 27), (34, 40), (235, 150, 120), 5)
        write_rgb(path, picture, quality=95, full_chroma=True)
    hidden = np.flatnonzero(~trusted(dataset)[:HELD_OUT_FROM])
    assert hidden.tolist() == list(range(20 - HIDDEN_MARGIN, 23 + HIDDEN_MARGIN))


def test_frames_beside_a_cut_are_not_shown(dataset):
    manifest = read_json(dataset.root / "dataset.json")
    write_json(dataset.root / "dataset.json", manifest | {"cuts": [30]})
    hidden = np.flatnonzero(~trusted(SubjectDataset(dataset.root))[:HELD_OUT_FROM])
    assert hidden.tolist() == list(range(30 - CUT_MARGIN, 30 + CUT_MARGIN))


def test_changes_of_light_and_speech_cover_nothing_but_a_tenth_of_covered_frames_is_found():
    generator = np.random.default_rng(0)
    light, speech = generator.normal(1, 0.1, (300, 1)), generator.normal(0, 0.05, (300, 4))
    face, shapes = generator.uniform(0.3, 0.7, 240), generator.normal(0, 1, (4, 240))
    colors = light * face + speech @ shapes + generator.normal(0, 0.01, (300, 240))
    assert not covered(colors).any()
    colors[100:130, :60] = generator.uniform(0, 1, 60)
    assert np.flatnonzero(covered(colors)).tolist() == list(range(100, 130))
