"""LPIPS follows its definition; random weights stand in for the trained ones, in files of the real layout."""

import sys

import numpy as np
import pytest
import torch

from adnerf_core.evaluation.lpips import ALEXNET, DISTANCE, MEAN, SPREAD, load_lpips

SHAPES = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Files of the real layout with random numbers, in torch's cache and in a package `lpips` on the path."""
    generator = torch.Generator().manual_seed(0)
    alexnet = {"classifier.1.weight": torch.zeros(2, 2)}
    for place, shape in SHAPES.items():
        alexnet[f"features.{place}.weight"] = 0.05 * torch.randn(shape, generator=generator)
        alexnet[f"features.{place}.bias"] = torch.zeros(shape[0])
    distance = {
        f"lin{k}.model.1.weight": torch.rand(1, shape[0], 1, 1, generator=generator)
        for k, shape in enumerate(SHAPES.values())
    }
    folder = tmp_path / "hub" / "checkpoints"
    package = tmp_path / "site" / "lpips"
    (package / DISTANCE).parent.mkdir(parents=True)
    folder.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    torch.save(alexnet, folder / ALEXNET)
    torch.save(distance, package / DISTANCE)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return alexnet, distance


@pytest.fixture
def pictures():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return truth, (truth + generator.normal(0, 12, truth.shape)).clip(0, 255).astype(np.uint8)


def by_hand(alexnet, distance, a, b):
    """The formula, step by step, with torch's functions."""
    F = torch.nn.functional
    total = 0.0
    stages = []
    for picture in (a, b):
        x = torch.from_numpy(picture).permute(2, 0, 1)[None] / 255.0 * 2 - 1
        x = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
        features = []
        for place, (stride, padding, pool) in {
            0: (4, 2, False),
            3: (1, 2, True),
            6: (1, 1, True),
            8: (1, 1, False),
            10: (1, 1, False),
        }.items():
            x = F.max_pool2d(x, 3, 2) if pool else x
            x = F.relu(
                F.conv2d(x, alexnet[f"features.{place}.weight"], alexnet[f"features.{place}.bias"], stride, padding)
            )
            features.append(F.normalize(x, dim=1, eps=1e-10))
        stages.append(features)
    for k, (x, y) in enumerate(zip(*stages, strict=True)):
        total += float(F.conv2d((x - y) ** 2, distance[f"lin{k}.model.1.weight"]).mean())
    return total


def test_the_distance_follows_the_formula(weights, pictures):
    measure, (truth, noisy) = load_lpips(), pictures
    assert measure(truth, truth) == 0
    assert measure(noisy, truth) == pytest.approx(by_hand(*weights, noisy, truth), rel=1e-4)
    assert measure(noisy, truth) < measure(255 - truth, truth)
    assert "lpips" not in sys.modules


@pytest.mark.parametrize("missing", ["hub", "site"])
def test_without_the_files_there_is_no_distance(weights, tmp_path, missing):
    for path in (tmp_path / missing).rglob("*.pth"):
        path.unlink()
    assert load_lpips() is None


def test_a_pickle_that_runs_code_is_refused(weights, tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    torch.save(Evil(), tmp_path / "hub" / "checkpoints" / ALEXNET)
    with pytest.raises(Exception, match=r"(?i)weights only"):
        load_lpips()
