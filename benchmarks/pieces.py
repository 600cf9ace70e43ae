"""The units of work that benchmarks.core times: training steps and frames of the fast fields and of the paper's networks."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from adnerf_core.config import PRESETS, TrainConfig, ViewChange
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.data.ray_batches import step_generator
from adnerf_core.fields.head_field import HeadField
from adnerf_core.fields.nerf_mlp import NerfMlp
from adnerf_core.fields.torso_field import TorsoField
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.models.adnerf import AdNerf
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.synthesis.render import pixel_grid_for_view
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.training.cuda_graphs import make_step_gradients
from adnerf_core.training.parallel import flush_denormals
from adnerf_core.training.talking_head_task import grid_update_interval
from adnerf_core.training.train import make_task

EXCERPT_FRAMES = 24
"""Number of frames that training steps draw rays from. Reading all frames would take longer than the measured steps."""
STRIDE = 37
"""Distance of two rendered frames in the track: neighbours are similar, so their costs are too."""
FIELDS = (HeadField, TorsoField, NerfMlp)
"""Classes whose calls are counted as field evaluations."""


class Clock:
    """Measures how long work takes: CPU time of this process, or on CUDA the wall time until the device has finished."""

    def __init__(self, device: str):
        self.device = device

    def __call__(self, work: Callable[[], object]) -> float:
        """Runs `work` and returns the seconds that it takes."""
        start = self._now()
        work()
        return self._now() - start

    def _now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


class Excerpt(SubjectDataset):
    """A dataset in which only a few frames are valid, spread evenly over the footage."""

    def track(self) -> Track:
        """Returns the track with EXCERPT_FRAMES valid frames before the held-out part."""
        track = super().track()
        indices = np.flatnonzero(track.valid[: self.held_out_from])
        excerpt = np.linspace(0, len(indices) - 1, min(EXCERPT_FRAMES, len(indices))).round().astype(int)
        valid = np.zeros_like(track.valid)
        valid[indices[excerpt]] = True
        return dataclasses.replace(track, valid=valid)


class Steps:
    """Steps of the head phase as in training: ray sampling, rendering, backpropagation, update of weights and density grid."""

    def __init__(self, dataset: SubjectDataset, config: TrainConfig, model: torch.nn.Module | None = None):
        """Prepares the steps.

        Args:
            dataset: the footage.
            config: the settings of training; they choose the networks.
            model: a trained model to continue with. The density of an untrained one leads to other numbers of samples
                than most steps of a training have.
        """
        self.config, self.task = config, make_task(dataset, config)
        task = self.task
        if model is not None:
            task.model = model.train()
        task.load_frames({})
        task.model.requires_grad_(False)
        self.phase = task.phases[0]
        self.optimizer = self.phase.make_optimizer()
        self.gradients = make_step_gradients(self.phase, self.optimizer, config)
        self.number = 10 * grid_update_interval(config.rays)

    @flush_denormals()
    def __call__(self) -> None:
        """Makes one step."""
        self.number += 1
        parts = self.phase.sample(self.number)
        self.optimizer.zero_grad()
        self.gradients.add(parts, self.number)
        self.optimizer.step()
        self.phase.after_step(self.number, parts[0], step_generator(0, self.number, device=self.config.device))


class Frames:
    """Frames of a subject that speaks the audio of its footage, at one size; or a random share of their pixels.

    Attributes:
        frame_factor: number of pixels of a whole frame, divided by the number of pixels that are rendered.
    """

    def __init__(self, subject: Subject, features: Tensor, size: int, share: float = 1.0):
        self.subject, self.size, self.number = subject, size, 0
        device = subject.poses.device
        count = len(subject.poses)
        self.codes = subject.model.encode_audio(features.to(device), torch.arange(count, device=device))
        pixels = pixel_grid_for_view(subject.model, ViewChange(), size)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0)).to(device)
        subset = slice(None) if share == 1 else order[: max(1, round(share * len(pixels)))]
        plate = torch.nn.functional.interpolate(subject.background.permute(2, 0, 1)[None], (size, size))[0]
        self.pixels, self.plate = pixels[subset], plate.permute(1, 2, 0).reshape(-1, 3)[subset]
        self.frame_factor = size**2 / len(self.pixels)

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Renders the frame STRIDE frames later in the track; returns the colours of its pixels, [pixels, 3]."""
        subject = self.subject
        frame_index = self.number * STRIDE % len(subject.poses)
        self.number += 1
        at = slice(frame_index, frame_index + 1)
        frame = FrameConditions(subject.poses[at], subject.torso[at], subject.upper[at], self.codes[at])
        return render_frame(subject.model, frame, self.pixels, self.plate).color


@contextmanager
def counting(model: torch.nn.Module, kinds: tuple[type, ...] = FIELDS) -> Iterator[list[int]]:
    """Yields a list to which, inside the block, every call of a field of `model` of one of `kinds` appends its number of query points."""
    counts: list[int] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
        for module in model.modules()
        if isinstance(module, kinds)
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def evaluations(frames: Frames, count: int) -> float:
    """Returns the field evaluations per pixel, head and torso together, as the mean of `count` frames."""
    with counting(frames.subject.model) as counts:
        for _ in range(count):
            frames()
    return sum(counts) / count / len(frames.pixels)


class Comparison:
    """The two sides of the comparison: a finished subject of the fast fields, and the paper's networks on the same footage."""

    def __init__(self, run: RunDir, device: str, rays: int, paper_width: int):
        self.run, self.device = run, device
        self.dataset = Excerpt(run.dataset)
        self.features = torch.from_numpy(self.dataset.features())
        run_config = TrainConfig(**read_json(run.manifest)["config"])
        self.fast_config = run_config.model_copy(update={"rays": rays, "device": device})
        published = PRESETS["paper"]
        networks = published.paper.model_copy(update={"width": paper_width})
        self.paper_config = published.model_copy(
            update={"rays": rays, "device": device, "size": run_config.size, "paper": networks}
        )

    def subject(self, side: str) -> Subject:
        """Returns the trained subject; for "paper", with untrained networks of the paper, whose cost does not depend on training."""
        subject = load_subject(self.run, self.device)
        if side == "fast":
            return subject
        model = AdNerf(self.paper_config.paper, subject.model.geometry, self.features.shape[1])
        return dataclasses.replace(subject, model=model.to(self.device).eval().requires_grad_(False))

    def frames(self, side: str, size: int, share: float = 1.0) -> Frames:
        """Returns frames of the side "fast" or "paper"."""
        return Frames(self.subject(side), self.features, size, share)

    def steps(self, side: str) -> Steps:
        """Returns training steps of the side "fast" or "paper"."""
        if side == "fast":
            return Steps(self.dataset, self.fast_config, self.subject("fast").model)
        return Steps(self.dataset, self.paper_config)
