"""train: the training loop. It runs the phases of a task (see task.py), writes checkpoints and previews, and restarts after a collapse."""

from __future__ import annotations

import math
import platform
from importlib.metadata import version

import torch

from adnerf_core.config import TrainConfig
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.data.ray_batches import step_generator
from adnerf_core.errors import NoSuchDevice, TrainingCollapsed
from adnerf_core.files.run_dir import RunDir, write_json
from adnerf_core.progress import Cancelled, Progress, silent
from adnerf_core.synthesis.subject import save_subject
from adnerf_core.training.adnerf_task import AdNerfTask
from adnerf_core.training.checkpoints import (
    TrainingState,
    load_extra,
    load_model,
    load_optimizer,
    read_state,
    save_checkpoint,
)
from adnerf_core.training.cuda_graphs import make_step_gradients
from adnerf_core.training.optimizers import AVERAGE_FROM
from adnerf_core.training.parallel import flush_denormals, keep_freed_memory, single_threaded_operators
from adnerf_core.training.preview import Previewer
from adnerf_core.training.talking_head_task import TalkingHeadTask
from adnerf_core.training.task import Phase, StepLoss, TrainingTask

TASKS = {"fast": TalkingHeadTask, "paper": AdNerfTask}
"""The task of each kind of model. "paper" are the networks and the schedule of AD-NeRF."""
CPU_SIZE, CUDA_SIZE = 256, 512
"""Side, px, of the images of a run whose configuration gives no size. 512 px cost four times the memory and the time of a frame."""
COLLAPSE_STEP, COLLAPSE_OPACITY = 400, 0.3
"""A head field whose opacity is below this at this step shows the background only and does not recover: it is restarted. By then a
field that learns is opaque at most of the head's rays. Unmeasured."""
MAX_RESTARTS = 2
"""Restarts, each with another seed, before the training fails."""
REPORT_EVERY = 50
"""Steps between two lines of metrics.jsonl."""


def train(dataset: SubjectDataset, run: RunDir, config: TrainConfig, progress: Progress = silent) -> RunDir:
    """Trains a model of `dataset` in `run`, from the run's checkpoint if there is one.

    Args:
        dataset: the preprocessed footage.
        run: the folder for everything that the training writes. A finished run is returned as it is.
        config: the configuration; its `size` may be None.
        progress: is called in the stages "audio", "head" and "torso". If it raises Cancelled, a checkpoint is written first.

    Raises:
        NoSuchDevice, TrainingCollapsed, DiskFull, NotReady.
    """
    if run.done:
        return run
    if config.device == "cuda" and not torch.cuda.is_available():
        raise NoSuchDevice("CUDA was asked for, but torch sees no CUDA device.")
    config = with_size(config, dataset)
    write_manifest(run, dataset, config)
    keep_freed_memory()
    trainer = Trainer(dataset, run, config, progress)
    try:
        with single_threaded_operators(), flush_denormals():
            trainer.run_phases()
    except Cancelled:
        trainer.save()
        raise
    task = trainer.task
    save_subject(run, task.model, config, dataset, task.refined_track(), task.playable_frames(), task.lip_pca)
    trainer.previewer().write_final(run)
    write_json(run.result, {"size": config.size, "restarts": trainer.state["restarts"]})
    return run


def with_size(config: TrainConfig, dataset: SubjectDataset) -> TrainConfig:
    """Returns the configuration with the size of the images, if it has none: CUDA_SIZE, or on a CPU at most CPU_SIZE."""
    default = CUDA_SIZE if config.device == "cuda" else min(CPU_SIZE, dataset.size)
    return config.model_copy(update={"size": config.size or default})


class Trainer:
    """Runs a task. The task's tensors, the optimizer and the state (phase, step, restarts) together are the checkpoint."""

    def __init__(self, dataset: SubjectDataset, run: RunDir, config: TrainConfig, progress: Progress):
        self.run, self.config, self.progress = run, config, progress
        self.optimizer: torch.optim.Optimizer | None = None
        stored = read_state(run)
        self.state: TrainingState = stored or {"phase": "audio", "step": 0, "restarts": 0}
        self.task = make_task(dataset, config, self.state["restarts"])
        if stored:
            load_model(run, self.task.model)

    def run_phases(self) -> None:
        """Runs the phases that are left: the audio stage, then those of the task."""
        phases = self.task.phases
        if self.state["phase"] == "audio":
            self.task.train_audio(self.run, self.progress)
            self._begin(phases[0])
        self.task.load_frames(load_extra(self.run))
        finished = [phase.name for phase in phases].index(self.state["phase"])
        for phase in phases[finished:]:
            if self.state["phase"] != phase.name:
                self._begin(phase)
            while not self._run_steps(phase):
                self._restart(phase)

    def _run_steps(self, phase: Phase) -> bool:
        """Runs the steps of a phase that are left. Returns False if the field has collapsed."""
        self.task.model.requires_grad_(False)
        self.optimizer = phase.make_optimizer()
        if self.state["step"] > 0:
            load_optimizer(self.run, self.optimizer)
        # A checkpoint of a version with more steps: the learning rate must still fall.
        if self.state["step"] > phase.steps:
            self.state["step"] = round(AVERAGE_FROM * phase.steps)
        gradients = make_step_gradients(phase, self.optimizer, self.config)
        for step in range(self.state["step"], phase.steps):
            self.progress(phase.name, step, phase.steps)
            phase.before_step(step, lambda: self.progress(phase.name, self.state["step"], phase.steps))
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * phase.learning_rate(step)
            parts = phase.sample(step)
            self.optimizer.zero_grad()
            result = gradients.add(parts, step)
            self.optimizer.step()
            phase.average(self.optimizer, step)
            self.state["step"] = step + 1
            phase.after_step(step, parts[0], step_generator(self.config.seed, step, device=self.config.device))
            if phase.can_collapse and step == COLLAPSE_STEP and result.opacity < COLLAPSE_OPACITY:
                return False
            if step % REPORT_EVERY == 0 or step == phase.steps - 1:
                self._record(phase, step, result)
            if (step + 1) % self.config.checkpoint_every == 0 and step + 1 < phase.steps:
                self.save()
                self.previewer().write_comparison(self.run, f"{phase.name}_{step + 1:06d}")
        phase.finish(self.optimizer, lambda: self.progress(phase.name, phase.steps, phase.steps))
        self.optimizer = None
        self.progress(phase.name, phase.steps, phase.steps)
        return True

    def _begin(self, phase: Phase) -> None:
        """Moves on to a phase, and writes a checkpoint."""
        self.state = {**self.state, "phase": phase.name, "step": 0}
        self.save()

    def _restart(self, phase: Phase) -> None:
        """Begins a phase anew after a collapse, with another seed; the masks then count more (see `head_loss`)."""
        restarts = self.state["restarts"] + 1
        if restarts > MAX_RESTARTS:
            raise TrainingCollapsed(f"Training failed {restarts} times: the model showed only the background.")
        self.task.restart(restarts)
        self.optimizer = None
        self.state = {"phase": phase.name, "step": 0, "restarts": restarts}

    def _record(self, phase: Phase, step: int, result: StepLoss) -> None:
        """Appends a line to metrics.jsonl."""
        psnr = -10 * math.log10(max(float(result.color_error), 1e-9))  # 90 dB at most: a perfect batch is no error
        figures = {"loss": float(result.loss), "psnr": round(psnr, 2), "opacity": float(result.opacity)}
        self.run.append_metrics(phase=phase.name, step=step, **figures)

    def save(self) -> None:
        """Writes the checkpoint."""
        save_checkpoint(self.run, self.task.model, self.optimizer, self.state, self.task.extra_tensors())

    def previewer(self) -> Previewer:
        """Returns a renderer of the model in its present state."""
        task = self.task
        return Previewer(task.model, task.dataset, task.refined_track(), task.preview_codes())


def make_task(dataset: SubjectDataset, config: TrainConfig, restarts: int = 0) -> TrainingTask:
    """Makes the task for the model that `config` describes; `restarts` after a collapse change the seed of its weights."""
    return TASKS["fast" if config.paper is None else "paper"](dataset, config, restarts)


def write_manifest(run: RunDir, dataset: SubjectDataset, config: TrainConfig) -> None:
    """Writes run.json, which holds all that is needed to repeat the run: dataset, source, configuration and versions."""
    versions = {name: version(name) for name in ("adnerf", "torch", "numpy", "ai-edge-litert")}
    write_json(
        run.manifest,
        {
            "dataset": str(dataset.root.resolve()),
            "source": dataset.manifest["source"],
            "config": config.model_dump(by_alias=True),
            "versions": {**versions, "python": platform.python_version()},
        },
    )
