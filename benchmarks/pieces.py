"""What benchmarks.core measures: the same work done by the fast fields and by the paper's networks, in pieces to be timed."""

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
from adnerf_core.fields.head_field import HeadField
from adnerf_core.fields.nerf_mlp import NerfMlp
from adnerf_core.fields.torso_field import TorsoField
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.models.adnerf import AdNerf
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.synthesis.render import pixel_grid_for_view
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.training.talking_head_task import grid_update_interval
from adnerf_core.training.train import flush_denormals, make_task

EXCERPT = 24
"""Frames of the footage that steps are drawn from: reading all of them would take longer than what is measured."""
STRIDE = 37
"""Frames of the track between two frames that are rendered: neighbours look alike."""
FIELDS = (HeadField, TorsoField, NerfMlp)


class Clock:
    """Seconds of work: CPU time of this process, or on CUDA the time until the device is done."""

    def __init__(self, device: str):
        self.device = device

    def __call__(self, work: Callable[[], object]) -> float:
        """How long `work` takes."""
        start = self._now()
        work()
        return self._now() - start

    def _now(self) -> float:
        if self.device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()


class Excerpt(SubjectDataset):
    """A dataset of which a few frames, spread over the whole, count as valid."""

    def track(self) -> Track:
        """The track, with EXCERPT valid frames before the held-out part."""
        track = super().track()
        trained = np.flatnonzero(track.valid[: self.held_out_from])
        few = np.zeros_like(track.valid)
        few[trained[np.linspace(0, len(trained) - 1, min(EXCERPT, len(trained))).round().astype(int)]] = True
        return dataclasses.replace(track, valid=few)


class Steps:
    """Steps of the head phase, as training makes them: draw rays, render, go back, update; and keep the density grid."""

    def __init__(self, dataset: SubjectDataset, config: TrainConfig, portrait: torch.nn.Module | None = None):
        """`portrait`: a trained one to go on with, since an untrained one has other rays to march than most steps have."""
        self.task = task = make_task(dataset, config)
        if portrait is not None:
            task.model = portrait.train()
        task.load_frames({})
        task.model.requires_grad_(False)
        self.phase = task.phases[0]
        self.optimizer = self.phase.make_optimizer()
        self.number = 10 * grid_update_interval(config.rays)

    @flush_denormals()
    def __call__(self) -> None:
        """One step."""
        self.number += 1
        batch = self.phase.sample(self.number)
        generator = torch.Generator().manual_seed(self.number)
        result = self.phase.loss(batch, self.number, generator)
        self.optimizer.zero_grad()
        result.loss.backward()
        self.optimizer.step()
        self.phase.after_step(self.number, batch, generator)


class Frames:
    """Frames of a subject saying what is heard in its footage, at one size; or a share of their pixels, drawn at random."""

    def __init__(self, subject: Subject, features: Tensor, size: int, share: float = 1.0):
        self.subject, self.size, self.number = subject, size, 0
        device = subject.poses.device
        count = len(subject.poses)
        self.codes = subject.model.encode_audio(features.to(device), torch.arange(count, device=device))
        pixels = pixel_grid_for_view(subject.model, ViewChange(), size)
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0)).to(device)
        chosen = slice(None) if share == 1 else order[: max(1, round(share * len(pixels)))]
        plate = torch.nn.functional.interpolate(subject.background.permute(2, 0, 1)[None], (size, size))[0]
        self.pixels, self.plate = pixels[chosen], plate.permute(1, 2, 0).reshape(-1, 3)[chosen]

    @property
    def whole(self) -> float:
        """How many times the pixels drawn a whole frame has."""
        return self.size**2 / len(self.pixels)

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """The next frame along the track, in strides; the colours of its pixels."""
        subject = self.subject
        place = self.number * STRIDE % len(subject.poses)
        self.number += 1
        at = slice(place, place + 1)
        frame = FrameConditions(subject.poses[at], subject.torso[at], subject.upper[at], self.codes[at])
        return render_frame(subject.model, frame, self.pixels, self.plate).color


@contextmanager
def counting(portrait: torch.nn.Module) -> Iterator[list[int]]:
    """Inside the block, collects how many points every call of a field of `portrait` is asked about."""
    counts: list[int] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
        for module in portrait.modules()
        if isinstance(module, FIELDS)
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def evaluations(frames: Frames, count: int) -> float:
    """Field evaluations a pixel, head and torso together; mean of `count` frames."""
    with counting(frames.subject.model) as counts:
        for _ in range(count):
            frames()
    return sum(counts) / count / len(frames.pixels)


class Contest:
    """The two sides: a finished subject of the fast fields, and the paper's networks on the same footage."""

    def __init__(self, run: RunDir, device: str, rays: int, paper_width: int):
        self.run, self.device = run, device
        self.dataset = Excerpt(run.dataset)
        self.features = torch.from_numpy(self.dataset.features())
        trained = TrainConfig(**read_json(run.manifest)["config"])
        self.fast_config = trained.model_copy(update={"rays": rays, "device": device})
        published = PRESETS["paper"]
        networks = published.paper.model_copy(update={"width": paper_width})
        self.paper_config = published.model_copy(
            update={"rays": rays, "device": device, "size": trained.size, "paper": networks}
        )

    def subject(self, side: str) -> Subject:
        """The trained subject; for "paper", with the paper's networks in its place: their cost does not depend on training."""
        subject = load_subject(self.run, self.device)
        if side == "fast":
            return subject
        portrait = AdNerf(self.paper_config.paper, subject.model.geometry, self.features.shape[1])
        return dataclasses.replace(subject, model=portrait.to(self.device).eval().requires_grad_(False))

    def frames(self, side: str, size: int, share: float = 1.0) -> Frames:
        """Frames of "fast" or "paper"."""
        return Frames(self.subject(side), self.features, size, share)

    def steps(self, side: str) -> Steps:
        """Training steps of "fast" or "paper"."""
        if side == "fast":
            return Steps(self.dataset, self.fast_config, self.subject("fast").portrait)
        return Steps(self.dataset, self.paper_config)
