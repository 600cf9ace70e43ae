"""Training: a talking head from a dataset."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np
import torch

from adnerf_core.config import TrainConfig
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import NoSuchDevice
from adnerf_core.files.run_dir import RunDir, write_json
from adnerf_core.progress import Cancelled, Progress, silent
from adnerf_core.synthesis.subject import save_subject
from adnerf_core.training.trainer import Trainer


def train(dataset: SubjectDataset, run: RunDir, config: TrainConfig, progress: Progress = silent) -> RunDir:
    """Trains a portrait of `dataset` in `run`, and goes on from the run's checkpoint where there is one.

    Stages of progress: "audio", "head", "torso". When the Progress raises Cancelled, a checkpoint is written first.
    Raises NoSuchDevice, TrainingCollapsed, DiskFull, NotReady.
    """
    if run.done:
        return run
    if config.device == "cuda" and not torch.cuda.is_available():
        raise NoSuchDevice("CUDA was asked for, but torch sees no CUDA device.")
    config = config.model_copy(
        update={"size": config.size or (512 if config.device == "cuda" else min(256, dataset.size))}
    )
    write_manifest(run, dataset, config)
    training = trainer_for(config)(dataset, run, config, progress)
    try:
        with flush_denormals():
            training.phases()
    except Cancelled:
        training.save()
        raise
    save_subject(run, training.portrait, config, dataset, training.refined_track(), training.lip_pca)
    training.previewer().final(run)
    write_json(run.result, {"size": config.size, "restarts": training.position["restarts"]})
    return run


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Inside the block, numbers too small for a whole mantissa are zero, in this thread.

    Gradients behind an opaque surface are such numbers. CPUs are many times slower with them, and they change nothing.
    """
    for kind in (np.float32, np.float64):
        np.finfo(kind)  # numpy looks at these numbers once, and warns where it cannot find them
    flushes = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if flushes:
            torch.set_flush_denormal(False)


def trainer_for(config: TrainConfig) -> type[Trainer]:
    """Who trains what `config` describes."""
    if config.paper is None:
        return Trainer
    from adnerf_core.training.adnerf_trainer import AdNerfTrainer  # which builds on this module

    return AdNerfTrainer


def write_manifest(run: RunDir, dataset: SubjectDataset, config: TrainConfig) -> None:
    """run.json, before step 0: what is needed to repeat the run."""
    versions = {name: version(name) for name in ("adnerf", "torch", "numpy", "mediapipe")}
    write_json(
        run.manifest,
        {
            "dataset": str(dataset.root.resolve()),
            "source": dataset.manifest["source"],
            "config": config.model_dump(),
            "versions": {**versions, "python": platform.python_version()},
        },
    )
