"""Training on a toy: it learns, resumes exactly, restarts after a collapse, and stops when asked."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adnerf_core.config import TrainConfig
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import NoSuchDevice, NotReady, TrainingCollapsed
from adnerf_core.fields.plane_encoding import INITIAL_STD
from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import Cancelled
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training import pose_refinement
from adnerf_core.training import train as training
from adnerf_core.training.parallel import flush_denormals
from adnerf_core.training.talking_head_task import HeadPhase
from adnerf_core.training.train import train
from tests.adnerf_core.toy import FRAMES, HELD_OUT_FROM, SHORT, TOY


def metrics(run: RunDir, phase: str) -> list[dict]:
    return [line for line in map(json.loads, run.metrics.read_text().splitlines()) if line["phase"] == phase]


def test_both_fields_learn(toy_run):
    head, torso = metrics(toy_run, "head"), metrics(toy_run, "torso")
    assert head[-1]["psnr"] > head[0]["psnr"] + 6 and head[-1]["opacity"] > 0.9
    assert torso[-1]["psnr"] > torso[0]["psnr"] + 4


def test_the_finished_run_has_all_that_rendering_needs(toy_run):
    subject = load_subject(toy_run)
    assert toy_run.done and toy_run.preview.exists()
    assert subject.size == 48 and subject.background.shape == (48, 48, 3)
    assert len(subject.poses) == len(subject.upper) == HELD_OUT_FROM < FRAMES
    assert not any(p.requires_grad for p in subject.model.parameters())


def test_the_mouth_follows_the_lip_code(toy_run, toy_dataset):
    from adnerf_core.face.lip_pca import LipPca
    from adnerf_core.training.preview import Previewer

    track = toy_dataset.track()
    codes = LipPca.fit(track.canonical_landmarks[:HELD_OUT_FROM], 6).encode(track.canonical_landmarks)
    previewer = Previewer(load_subject(toy_run).model, toy_dataset, track, codes)
    shut, wide = (int(f(track.opening[HELD_OUT_FROM:])) + HELD_OUT_FROM for f in (np.argmin, np.argmax))
    dark = {k: int((previewer.frame(k)[24:36, 16:32].mean(-1) < 80).sum()) for k in (shut, wide)}
    assert dark[wide] > dark[shut] + 3


def test_planes_are_smooth_where_no_ray_shows_them(toy_run):
    model, ends = load_subject(toy_run).model, (slice(None, 4), slice(-4, None))
    for planes in (model.head.front, model.torso.planes):
        corners = [planes.levels[-1][..., rows, cols] for rows in ends for cols in ends]
        steps = torch.stack([corner.diff(dim=axis).abs().mean() for corner in corners for axis in (2, 3)])
        assert steps.max() < INITIAL_STD / 2  # the planes begin as noise, whose texels differ by 1.1 INITIAL_STD


class StopAt:
    """A Progress that cancels once, at one step of one stage."""

    def __init__(self, stage: str, step: int):
        self.at = (stage, step)

    def __call__(self, stage: str, done: float, total: float) -> None:
        if (stage, done) == self.at:
            raise Cancelled


@pytest.fixture(scope="module", autouse=True)
def few_rays(toy_run):
    """Makes pose refinement fast; test_pose_refinement.py tests its result. (After `toy_run`, which needs it as it is.)"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_refinement, "RAYS", 16)
        yield


@pytest.fixture(scope="module")
def straight(few_rays, toy_dataset, tmp_path_factory) -> RunDir:
    return train(toy_dataset, RunDir(tmp_path_factory.mktemp("straight") / "run"), SHORT)


@pytest.mark.parametrize("stage, step", [("head", 7), ("head", 25), ("torso", 10), ("torso", 12)])
def test_resume_equals_a_straight_run(straight, toy_dataset, tmp_path, stage, step):
    broken = RunDir(tmp_path / "broken")
    with pytest.raises(Cancelled):
        train(toy_dataset, broken, SHORT, StopAt(stage, step))
    assert not broken.done
    train(toy_dataset, broken, SHORT)
    one, other = load_file(straight.model), load_file(broken.model)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_finished_run_is_not_trained_again(toy_run):
    before = toy_run.model.stat().st_mtime_ns
    train(SubjectDataset(toy_run.dataset), toy_run, TOY)
    assert toy_run.model.stat().st_mtime_ns == before


def test_collapse_is_detected_and_restarted_with_another_seed(toy_dataset, tmp_path, monkeypatch):
    restarts = []
    loss = HeadPhase.loss

    def empty_at_first(self, batch, step, done, generator):
        restarts.append(self.task.restarts)
        opacity = torch.tensor(0.0 if self.task.restarts == 0 else 1.0)
        return loss(self, batch, step, done, generator)._replace(opacity=opacity)

    monkeypatch.setattr(training, "COLLAPSE_STEP", 5)
    monkeypatch.setattr(HeadPhase, "loss", empty_at_first)
    run = train(toy_dataset, RunDir(tmp_path / "run"), SHORT)
    assert json.loads(run.result.read_text())["restarts"] == 1
    assert restarts == [0] * 6 * 2 + [1] * SHORT.head_steps * 2  # two halves of every step


def test_a_subject_that_always_collapses_fails_with_a_remedy(toy_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "COLLAPSE_STEP", 2)
    monkeypatch.setattr(training, "COLLAPSE_OPACITY", 2.0)
    with pytest.raises(TrainingCollapsed, match="failed 3 times"):
        train(toy_dataset, RunDir(tmp_path / "run"), SHORT)


def test_a_missing_cuda_device_is_an_error_with_a_remedy(toy_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = TrainConfig(**{**SHORT.model_dump(), "device": "cuda"})
    with pytest.raises(NoSuchDevice, match="--device cpu"):
        train(toy_dataset, RunDir(tmp_path / "run"), config)


def test_a_damaged_checkpoint_is_an_error(toy_dataset, tmp_path):
    run = RunDir(tmp_path / "run")
    run.checkpoint.parent.mkdir(parents=True)
    run.checkpoint.write_bytes(b"no safetensors")
    with pytest.raises(NotReady, match="damaged"):
        train(toy_dataset, run, SHORT)


def test_an_unfinished_run_cannot_be_loaded(tmp_path):
    with pytest.raises(NotReady, match="no finished training"):
        load_subject(RunDir(tmp_path))


def test_a_folder_without_a_dataset_is_an_error(tmp_path):
    with pytest.raises(NotReady):
        SubjectDataset(tmp_path)


def test_run_json_is_written_before_the_first_step(toy_dataset, tmp_path):
    run = RunDir(tmp_path / "run")
    with pytest.raises(Cancelled):
        train(toy_dataset, run, SHORT, StopAt("head", 0))
    written = json.loads(run.manifest.read_text())
    assert Path(written["dataset"]) == toy_dataset.root.resolve() and written["config"]["size"] == 48


def test_denormal_numbers_are_flushed_while_training_and_only_then():
    tiny = torch.full((64,), 1e-30)
    if not torch.set_flush_denormal(False):
        pytest.skip("this CPU cannot flush denormal numbers")
    with flush_denormals():
        assert not (tiny * 1e-10).any()
    assert (tiny * 1e-10).all()
