"""Trainings with CUDA graphs, on a pretended device (pretend_graphs.py), or with ADNERF_TEST_CUDA=real on a real one."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

from adnerf_core.errors import AdnerfError
from adnerf_core.files.run_dir import RunDir
from adnerf_core.training import cuda_graphs
from adnerf_core.training import talking_head_task as fast
from adnerf_core.training import train as training
from adnerf_core.training.cuda_graphs import GraphGradients, make_step_gradients
from adnerf_core.training.gradients import StepGradients
from adnerf_core.training.talking_head_task import HeadPhase, TalkingHeadTask
from adnerf_core.training.train import train
from tests.adnerf_core.pretend_cuda import REAL
from tests.adnerf_core.pretend_graphs import pretend_graphs
from tests.adnerf_core.toy import SHORT
from tests.adnerf_core.training.test_adnerf_task import SHORT as PAPER

CONFIG = SHORT.model_copy(
    update={"device": "cuda", "cuda_graphs": True, "rays": 64, "audio_steps": 4, "head_steps": 14, "torso_steps": 6}
)
KINDS = {"head": [False, True], "torso": ["torso"]}


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    """Updates of the density grid and graphs of every kind in a few steps; on a real device, a check for inputs that were freed."""
    monkeypatch.setattr(fast, "REFINE_AT", ())
    monkeypatch.setattr(fast, "PATCHES_FROM", 0.5)
    monkeypatch.setattr(fast, "UNIFORM_STEPS", 6)
    monkeypatch.setattr(fast, "GRID_UPDATE_RAYS", 4 * CONFIG.rays)
    monkeypatch.setattr(cuda_graphs, "WARM_UP", 1)
    if REAL:
        monkeypatch.setattr(torch.cuda, "graph", partial(torch.cuda.graph, check_input_liveness=True))


def gradients_of(task: TalkingHeadTask) -> dict[str, torch.Tensor]:
    return {name: each.grad.clone() for name, each in task.model.named_parameters() if each.grad is not None}


def test_graphs_give_the_losses_and_gradients_of_the_plain_step(toy_dataset):
    """Each step of a training is taken in both ways from the same weights; then the weights change."""
    with pretend_graphs() as (waits, graphs):
        task = TalkingHeadTask(toy_dataset, CONFIG)
        task.load_frames({})
        for phase in task.phases:
            task.model.requires_grad_(False)
            optimizer = phase.make_optimizer()
            plain, captured = StepGradients(phase, CONFIG), make_step_gradients(phase, optimizer, CONFIG)
            assert isinstance(captured, GraphGradients)
            for step in range(phase.steps):
                parts = phase.sample(step)
                found = []
                for way in (plain, captured):
                    optimizer.zero_grad()
                    before = waits.count
                    figures = way.add(parts, step)
                    assert waits.count == before or REAL  # torch warns of what a first call or a capture waits for
                    found.append((torch.stack(list(figures)), gradients_of(task)))
                (expected, gradients), (ours, other) = found
                torch.testing.assert_close(ours.cpu(), expected.cpu(), rtol=1e-4, atol=1e-6)
                assert gradients.keys() == other.keys() and len(gradients) > 3
                for name, gradient in gradients.items():
                    most = float(gradient.abs().max())
                    torch.testing.assert_close(other[name].cpu(), gradient.cpu(), rtol=1e-3, atol=1e-4 * most, msg=name)
                optimizer.step()
                phase.after_step(step, parts[0], torch.Generator("cuda").manual_seed(step))
            assert sorted(captured.graphs) == KINDS[phase.name]
        assert len(graphs) == 3
        if not REAL:
            assert all(graph.generators for graph in graphs)
            assert sum(graph.replays for graph in graphs) == CONFIG.head_steps + CONFIG.torso_steps - len(graphs)


def test_a_training_with_graphs_gives_the_subject_of_one_without_also_after_a_restart(
    toy_dataset, tmp_path, monkeypatch
):
    loss = HeadPhase.loss

    def empty_at_first(self, batch, step, done, generator):
        return loss(self, batch, step, done, generator)._replace(opacity=done * 0 + bool(self.task.restarts))

    monkeypatch.setattr(training, "COLLAPSE_STEP", 5)
    monkeypatch.setattr(HeadPhase, "loss", empty_at_first)
    config = CONFIG.model_copy(update={"head_steps": 10, "torso_steps": 5})
    runs = []
    with pretend_graphs() as (_, graphs):
        for way in (False, True):
            assert not graphs
            run = RunDir(tmp_path / str(way))
            runs.append(train(toy_dataset, run, config.model_copy(update={"cuda_graphs": way})))
    # Before the restart, steps without patches; after it, those of each kind.
    assert len(graphs) == 1 + 3
    assert all(json.loads(run.result.read_text())["restarts"] == 1 for run in runs)
    weights = [load_file(run.model) for run in runs]
    tolerance = {"rtol": 0.1, "atol": 0.02} if REAL else {"rtol": 0, "atol": 0}  # a GPU sums in any order
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, **tolerance, msg=name)


def test_neither_a_cpu_nor_the_papers_networks_are_captured(toy_dataset):
    paper = PAPER.model_copy(update={"device": "cuda", "cuda_graphs": True})
    for config in (CONFIG.model_copy(update={"device": "cpu"}), paper):
        with pretend_graphs():
            task = training.make_task(toy_dataset, config)
            for phase in task.phases:
                assert type(make_step_gradients(phase, phase.make_optimizer(), config)) is StepGradients


# Last: afterwards CUDA may not work in this process any more.
def test_a_step_that_cannot_be_captured_is_an_error_with_a_remedy(toy_dataset, tmp_path, monkeypatch):
    loss = HeadPhase.loss

    def waiting(self, batch, step, done, generator):
        return loss(self, batch, step, done, generator)._replace(opacity=done * 0 + float(done))

    monkeypatch.setattr(HeadPhase, "loss", waiting)
    with pretend_graphs(), pytest.raises(AdnerfError, match="captured") as raised:
        train(toy_dataset, RunDir(tmp_path / "run"), CONFIG)
    assert "ADNERF_CUDA_GRAPHS=false" in raised.value.remedy and "captur" in raised.value.details
