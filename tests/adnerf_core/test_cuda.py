"""Training, rendering and evaluation on a pretended CUDA device: no mixing of devices, no float64, and hardly a moment in which the host waits.

See pretend_cuda.py for what the pretended device checks, and what it cannot show.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from adnerf_core.audio import train_encoder
from adnerf_core.config import Background, RenderOptions, ViewChange
from adnerf_core.data.ray_batches import RayBatch, step_generator
from adnerf_core.evaluation import evaluate as evaluation
from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import Cancelled
from adnerf_core.synthesis import view_sheet
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.render import applied_view, render, render_frames
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training import audio_stage, pose_refinement
from adnerf_core.training import talking_head_task as fast
from adnerf_core.training.talking_head_task import TalkingHeadTask
from adnerf_core.training.train import train
from tests.adnerf_core.evaluation.test_evaluate import Marker
from tests.adnerf_core.pretend_cuda import REAL, CudaTensor, pretend_cuda
from tests.adnerf_core.synthesis.test_render import tone
from tests.adnerf_core.toy import SHORT, SIZE
from tests.adnerf_core.training.test_adnerf_task import SHORT as PAPER

ON_CUDA = {"device": "cuda", "rays": 64}
PAPER_WAITS_A_STEP = 1
"""A step of the paper's networks reads whether AudioAttNet is used. One of the fast model waits for nothing: its kernels take less time
than starting them, and each wait would let the device run dry."""
MAX_WAITS_A_FRAME = {"portrait": 17, "turned, still, transparent": 23, "moved more": 21, "full frame": 21}
"""Those of the toy's frames, by kind: which blocks and rays show the head is known on the device only."""


FIT = train_encoder.fit


class WaitsPerStep:
    """A Progress that notes how often the host waited: in each step of the fields' phases, and up to each step of an audio encoder."""

    def __init__(self, waits):
        self.waits, self.steps, self.last, self.audio = waits, {}, None, []

    def __call__(self, stage: str, done: float, total: float) -> None:
        if self.last is not None and self.last[0] == stage and done == self.last[1] + 1:
            self.steps.setdefault(stage, {})[int(self.last[1])] = self.waits.count - self.last[2]
        if self.last is None or (stage, done) != self.last[:2]:
            self.last = (stage, done, self.waits.count)

    def fit(self, *arguments) -> torch.nn.Module:
        """Does what train_encoder.fit does; the last argument is its Progress. Only one encoder is trained at a time (`trained`)."""
        *others, progress = arguments

        def noting(stage: str, done: float, total: float) -> None:
            self.audio.append(self.waits.count)
            progress(stage, done, total)

        return FIT(*others, noting)


@pytest.fixture(scope="module")
def patched(toy_run):
    """Few rays for the refinement of the track, of the torso, too, and updates of the density grid in a short training.

    (After `toy_run`, which needs the usual ones.)
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pose_refinement, "RAYS", 16)
        patch.setattr(fast, "TORSO_FORMED_STEPS", 0)
        patch.setattr(fast, "UNIFORM_STEPS", 6)
        patch.setattr(fast, "GRID_UPDATE_RAYS", 4 * ON_CUDA["rays"])
        yield


@pytest.fixture(scope="module")
def trained(toy_dataset, patched, tmp_path_factory):
    """A training of the fast model on the pretended device that is stopped and resumed: the run, and the waits of each step."""
    run = RunDir(tmp_path_factory.mktemp("cuda") / "run")
    config = SHORT.model_copy(update=ON_CUDA | {"audio_steps": 4, "head_steps": 20, "torso_steps": 8})
    with pretend_cuda() as waits, pytest.MonkeyPatch.context() as patch:
        noted = WaitsPerStep(waits)
        patch.setattr(train_encoder, "fit", noted.fit)
        patch.setattr(audio_stage, "usable_cores", lambda: 1)

        def progress(stage: str, done: float, total: float) -> None:
            noted(stage, done, total)
            if (stage, done) == ("head", 12) and not run.checkpoint.with_suffix(".seen").exists():
                run.checkpoint.with_suffix(".seen").touch()
                raise Cancelled

        with pytest.raises(Cancelled):
            train(toy_dataset, run, config, progress)
        train(toy_dataset, run, config, progress)
    return run, noted


def usual(steps: dict[int, int], unusual: set[int]) -> dict[int, int]:
    """The steps of a phase that do nothing besides: neither write figures nor a checkpoint, nor refine the track."""
    return {step: count for step, count in steps.items() if step not in unusual}


@pytest.mark.skipif(REAL, reason="of the pretended device")
def test_the_pretended_device_refuses_what_a_gpu_refuses_and_counts_waits():
    with pretend_cuda() as waits:
        values = torch.tensor([1.0, 2.0, 3.0]).to("cuda", non_blocking=True)
        values.requires_grad_(True)
        ((values[:2] * 2).sum() + torch.zeros((), device="cuda")).backward()
        assert values.device == torch.device("cuda", 0) and isinstance(values.grad, CudaTensor) and waits.count == 0
        for refused in (
            lambda: values + torch.ones(3),
            lambda: torch.cat([values, torch.ones(1)]),
            lambda: torch.ones(3)[torch.zeros(1, dtype=torch.long, device="cuda")],
            lambda: torch.rand(3, generator=torch.Generator(), device="cuda"),
            lambda: torch.rand(3, generator=torch.Generator("cuda")),
            lambda: values.detach().numpy(),
            lambda: values.double(),
        ):
            with pytest.raises((RuntimeError, TypeError)):
                refused()
        assert waits.count == 0
        for waiting in (
            lambda: float(values[0].detach()),
            lambda: values.cpu(),
            lambda: values.tolist(),
            lambda: bool(values[0] > 0),
            lambda: values[values > 1],
            lambda: (values > 1).nonzero(),
            lambda: torch.tensor([1.0], device="cuda"),
            lambda: torch.ones(3).to("cuda"),
            lambda: torch.multinomial(values.detach(), 1),
        ):
            before = waits.count
            waiting()
            assert waits.count == before + 1


def test_a_step_of_the_fast_training_does_not_wait(trained):
    run, noted = trained
    refined = {round(share * 20) for share in fast.REFINE_AT}
    head = usual(noted.steps["head"], refined | {0, 9, 11, 12, 19})
    moved = {round(share * 8) for share in fast.REFINE_TORSO_AT}
    torso = usual(noted.steps["torso"], moved | {0, 7})
    audio = np.diff(noted.audio[:4])  # the encoder's steps; what follows them is its cross-validation
    assert len(head) > 10 and len(torso) == 3 and len(audio) == 3
    assert not any([*audio, *head.values(), *torso.values()]), noted.waits.places.most_common(20)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert all(np.isfinite(line["loss"]) for line in lines if "loss" in line)


def test_a_subject_that_was_trained_on_the_device_is_used_on_a_cpu(trained, tmp_path):
    run, _ = trained
    assert all(value.isfinite().all() for value in load_file(run.model).values())
    done = render(run, tone(tmp_path / "a.wav", 0.3), tmp_path / "out.mp4")
    assert done.frames == 8 and run.preview.exists()


def test_the_papers_training_waits_at_most_once_a_step(toy_dataset, tmp_path):
    run, config = (
        RunDir(tmp_path / "run"),
        PAPER.model_copy(update={"device": "cuda", "head_steps": 6, "torso_steps": 4}),
    )
    with pretend_cuda() as waits:
        noted = WaitsPerStep(waits)
        train(toy_dataset, run, config, noted)
    steps = [*usual(noted.steps["head"], {0, 5}).values(), *usual(noted.steps["torso"], {0, 3}).values()]
    assert run.done and len(steps) == 6 and max(steps) <= PAPER_WAITS_A_STEP, waits.places.most_common(20)


def to_cuda(batch: RayBatch) -> RayBatch:
    return RayBatch(**{field.name: getattr(batch, field.name).to("cuda") for field in fields(batch)})


@pytest.mark.skipif(REAL, reason="a GPU draws other random numbers")
@pytest.mark.parametrize("phase_index, step", [(0, 25), (0, 195), (1, 5)])
def test_a_step_of_fixed_shapes_has_the_loss_and_the_gradients_of_one_that_leaves_rays_out(
    toy_run, toy_dataset, phase_index, step
):
    gradients, losses = [], []
    task = TalkingHeadTask(toy_dataset, SHORT.model_copy(update={"head_steps": 200}))
    task.load_frames({})
    task.model.load_state_dict(load_file(toy_run.model))
    phase = task.phases[phase_index]
    batch = phase.sample(step)[0]
    for device in ("cpu", "cuda"):
        with pretend_cuda() as waits:
            task.model.to(device).requires_grad_(False)
            task.model.zero_grad()
            phase.make_optimizer()
            waits_before = waits.count
            rays = batch if device == "cpu" else to_cuda(batch)
            counted = waits.count
            done = torch.full((), step / phase.steps, device=device)
            loss = phase.loss(rays, step, done, step_generator(0, step, device=device)).loss
            loss.backward()
            assert waits.count == counted >= waits_before
            losses.append(float(loss.detach()))
            gradients.append(
                {name: value.grad.cpu() for name, value in task.model.named_parameters() if value.grad is not None}
            )
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-3, atol=1e-5 * float(gradient.abs().max())), name


OPTIONS = {
    "portrait": RenderOptions(frame="portrait"),
    "turned, still, transparent": RenderOptions(
        pose="still", view=ViewChange(yaw_deg=3, zoom=1.2), background=Background(kind="transparent"), format="webm"
    ),
    "moved more": RenderOptions(motion=1.3, background=Background(kind="color", color="#224466")),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_portraits_are_those_of_the_cpu(toy_run, name):
    pictures, options, counts = [], OPTIONS[name], []
    for device in ("cpu", "cuda"):
        with pretend_cuda() as waits:
            subject = load_subject(toy_run, device)
            view, codes = applied_view(subject, options.view), torch.zeros((3, 6), device=device)
            for picture in render_frames(subject, codes, subject.background, options, view, lambda *_: None):
                pictures.append(picture.astype(int))
                counts.append(waits.count)
    assert counts[-1] - counts[-2] <= MAX_WAITS_A_FRAME[name], waits.places.most_common(40)
    for cpu, cuda in zip(pictures[:3], pictures[3:], strict=True):
        assert np.abs(cpu - cuda).max() <= 1


def test_full_frames_are_those_of_the_cpu(toy_run, tmp_path):
    pictures = []
    for device in ("cpu", "cuda"):
        with pretend_cuda() as waits:
            renderer = FullFrameRenderer(load_subject(toy_run, device))
            frame = np.full((renderer.height * 3 // 2, renderer.width), 128, np.uint8)
            code = torch.zeros(6, device=device)
            renderer.render_into(frame.copy(), 20, code)
            before = waits.count
            pictures.append(renderer.render_into(frame, 21, code).astype(int))
    assert waits.count - before <= MAX_WAITS_A_FRAME["full frame"], waits.places.most_common(40)
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


@pytest.mark.parametrize("audio", [True, False])
def test_videos_view_sheets_and_evaluations_are_made_on_the_device(toy_run, tmp_path, monkeypatch, audio):
    run = RunDir(shutil.copytree(toy_run.root, tmp_path / "run"))
    sound = tone(tmp_path / "a.wav", 0.32) if audio else None
    with pretend_cuda():
        done = render(run, sound, tmp_path / "out.mp4", device="cuda", duration_s=None if audio else 0.32)
        assert done.frame == "full" and done.frames == 8
        if audio:
            monkeypatch.setattr(evaluation, "load_tracker", lambda name: Marker())
            monkeypatch.setattr(evaluation, "MAX_PIXELS", 2 * SIZE**2)  # two frames
            figures = evaluation.evaluate(run, device="cuda")
            assert figures["psnr"] > 20 and figures["full_psnr"] > figures["psnr"]
        else:
            monkeypatch.setattr(view_sheet, "COLUMNS", 3)
            monkeypatch.setattr(view_sheet, "ROWS", 1)
            monkeypatch.setattr(view_sheet, "TILE_PX", 32)
            assert len(view_sheet.render_view_sheet(run, device="cuda")["yaw_deg"]) == 3
