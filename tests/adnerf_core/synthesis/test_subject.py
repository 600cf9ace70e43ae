"""A finished run holds the footage for playing; one without it can still be loaded."""

import json
import os
import shutil

import numpy as np
import pytest
import torch

from adnerf_core.errors import NotReady
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.run_dir import RunDir, file_sha256, link_or_copy
from adnerf_core.synthesis.subject import load_subject
from tests.adnerf_core.toy import FOOTAGE_CROP, FOOTAGE_SIZE, HELD_OUT_FROM


@pytest.fixture
def run(toy_run, tmp_path):
    return RunDir(shutil.copytree(toy_run.root, tmp_path / "run"))


def test_a_run_holds_its_footage(toy_run, toy_dataset):
    playback = load_subject(toy_run).playback
    assert (playback.width, playback.height) == FOOTAGE_SIZE and playback.crop == FOOTAGE_CROP
    assert playback.exposure.shape == (HELD_OUT_FROM, 3) and (playback.exposure - 1).abs().max() < 0.3
    assert playback.trusted.dtype == torch.bool and playback.trusted.float().mean() > 0.8
    assert playback.outline.shape[1] == 3 and playback.outline.isfinite().all()
    stored = json.loads(toy_run.subject.read_text())["footage"]
    assert stored["sha256"] == file_sha256(playback.path) == file_sha256(toy_dataset.root / "footage.mp4")


def test_the_crop_of_the_footage_is_what_the_subject_was_trained_on(toy_run, toy_dataset):
    playback = load_subject(toy_run).playback
    x, y, side = map(int, playback.crop)
    for k, frame in FootageReader(playback.path, playback.width, playback.height, HELD_OUT_FROM).read([3, 40]):
        seen = frame[y : y + side, x : x + side].astype(int)
        assert np.abs(seen - toy_dataset.picture(k, side)).mean() < 4


def test_a_run_from_before_footage_was_kept_has_none(run):
    value = json.loads(run.subject.read_text())
    del value["footage"], value["region"]
    run.subject.write_text(json.dumps(value))
    with np.load(run.track) as arrays:
        old = {name: arrays[name] for name in arrays.files if name not in ("exposure", "trusted")}
    np.savez(run.track, **old)
    run.footage.unlink()
    assert load_subject(run).playback is None


def test_lost_footage_is_reported(run):
    run.footage.unlink()
    with pytest.raises(NotReady, match=r"footage\.mp4 is missing"):
        load_subject(run)


def test_footage_is_linked_where_that_is_possible_and_copied_elsewhere(tmp_path, monkeypatch):
    source = tmp_path / "source"
    source.write_bytes(b"footage")
    link_or_copy(source, tmp_path / "linked")
    assert source.samefile(tmp_path / "linked")

    def other_file_system(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_file_system)
    link_or_copy(source, tmp_path / "copied")
    assert not source.samefile(tmp_path / "copied") and (tmp_path / "copied").read_bytes() == b"footage"
