"""Trainer, on one page: the audio encoder, then the head's field, then the torso's, in one run directory."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.audio import pretrained_encoder
from adnerf_core.audio.features import feature_class
from adnerf_core.audio.train_encoder import train_encoder
from adnerf_core.cameras.cameras import cast_rays
from adnerf_core.config import FPS, TrainConfig
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.data.ray_batches import HEAD, RayBatch, TrainingFrames, patch_size
from adnerf_core.errors import TrainingCollapsed
from adnerf_core.face.lip_pca import LipPca, mouth_distances
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.talking_head import FrameConditions
from adnerf_core.progress import Progress
from adnerf_core.synthesis.subject import build_model
from adnerf_core.training.checkpoints import (
    TrainingState,
    load_extra,
    load_model,
    load_optimizer,
    read_position,
    save_checkpoint,
)
from adnerf_core.training.losses import gradient_loss, head_loss, torso_loss
from adnerf_core.training.pose_refinement import (
    AlignmentFrames,
    TrackRefinement,
    apply_pose_delta,
    refine_poses,
    refine_track,
    smooth_poses,
)
from adnerf_core.training.preview import Previewer
from adnerf_core.training.scene_geometry import estimate_scene_geometry

PLANES_RATE, NETS_RATE = 1e-2, 2e-3
UNIFORM_STEPS = 100
"""Steps before the density grid is believed: a grid that is believed too early never finds what it missed."""
REFRESH_RAYS, REFRESH_PARTS = 16 * 4096, 4
"""A part of the density grid, one of so many, is looked at again after so many rays: what that costs is a share of what steps cost."""
CODE_NOISE = 0.1
"""Standard deviation of the noise on lip codes: the field must not tell frames apart by their codes."""
POSE_NOISE = 0.4
"""Likewise on the head's pose where the torso is conditioned on it (standardised). With less, how the shoulders lie in new poses is left to
chance: the error of their outline differs by 1.5 dB between seeds (docs/fidelity.md)."""
COLLAPSE_STEP, COLLAPSE_OPACITY, RESTARTS = 400, 0.3, 2
"""A head that is still emptier than this at this step shows background only: start anew, otherwise, so many times."""
REPORT_EVERY = 50
PATCHES_FROM = 0.8
"""The part of the head phase from which on rays come in squares, and detail counts (losses.detail_loss)."""
REFINE_AT = (0.15, 0.3, 0.45, 0.6)
"""The track is refined once after each of these parts of the head phase: late enough for a face, early enough to be used."""
REFINE_EVERY = 2
"""Every so many-th frame is looked at; the others lie between."""


class Trainer:
    """One run: the portrait, its optimizer and the position, which together are the checkpoint."""

    def __init__(self, dataset: SubjectDataset, run: RunDir, config: TrainConfig, progress: Progress):
        self.dataset, self.run, self.config, self.progress = dataset, run, config, progress
        self.track = dataset.track()
        self.lip_pca: LipPca | None = None
        self.codes = self.lip_targets()
        self.optimizer: torch.optim.Optimizer | None = None
        self.fit: TrackRefinement | None = None
        self.position: TrainingState = {"phase": "audio", "step": 0, "restarts": 0}
        stands = read_position(run)
        self.start(stands["restarts"] if stands else 0)
        if stands:
            self.position = stands
            load_model(run, self.portrait)

    def lip_targets(self) -> Float[ndarray, "frames code"]:
        """The lips of all frames as codes; NaN where there are none."""
        trained = np.flatnonzero(self.track.valid[: self.dataset.held_out_from])
        self.lip_pca = LipPca.fit(self.track.canonical_landmarks[trained], self.config.field.lip_code)
        return self.lip_pca.encode(self.track.canonical_landmarks)

    def start(self, restarts: int) -> None:
        """A fresh portrait; every restart has another seed."""
        torch.manual_seed(self.config.seed + 7919 * restarts)
        geometry = estimate_scene_geometry(self.dataset, self.track, self.config.size)
        features = self.dataset.manifest["features"]
        self.portrait = build_model(self.config, geometry, features).to(self.config.device)

    def save(self) -> None:
        """Writes the checkpoint."""
        save_checkpoint(
            self.run, self.portrait, self.optimizer, self.position, self.fit._asdict() if self.fit else None
        )

    def previewer(self) -> Previewer:
        """Renders the portrait as it stands."""
        return Previewer(self.portrait, self.dataset, self.refined_track(), self.codes)

    def refined_track(self) -> Track:
        """The track as it was refined, steady."""
        if self.fit is None:
            return self.track
        track = refine_track(self.track, self.footage.numbers.cpu().numpy(), self.fit.change.cpu().numpy())
        return dataclasses.replace(track, pose=smooth_poses(torch.from_numpy(track.pose)).numpy())

    def phases(self) -> None:
        """Runs what is left of the three phases."""
        if self.position["phase"] == "audio":
            self.audio()
            self.position = {**self.position, "phase": "head", "step": 0}
            self.save()
        self.look()
        while self.position["phase"] == "head":
            if self.fields("head", self.config.head_steps):
                self.position = {**self.position, "phase": "torso", "step": 0}
                self.save()
            else:
                self.restart()
        self.fields("torso", self.config.torso_steps)

    def look(self) -> None:
        """Reads the footage, and tells the portrait what it needs of it."""
        self.footage = TrainingFrames(self.dataset, self.config.size, self.codes, self.config.device)
        self.portrait.set_torso_region(self.footage.torso_region)
        self.tracked = self.footage.poses
        kept = load_extra(self.run)
        self.adopt(
            TrackRefinement(**kept).to(self.config.device)
            if kept
            else TrackRefinement.none(len(self.tracked), self.config.device)
        )

    def adopt(self, fit: TrackRefinement) -> None:
        """Goes on with another fit of the track."""
        self.fit = fit
        self.footage.adopt(apply_pose_delta(self.tracked, fit.change), fit.exposure, fit.trusted())

    def refine(self, step: int, steps: int) -> None:
        """Moves the poses of the footage to where the portrait, as it stands, looks most like it."""
        footage, count = self.footage, len(self.tracked)
        chosen = torch.arange(0, count, REFINE_EVERY, device=self.tracked.device)
        looks = AlignmentFrames(
            chosen,
            footage.pictures,
            footage.masks,
            footage.boxes[:, 1],
            self.portrait.condition(footage.lips, footage.upper),
            footage.plate / 255,
        )
        generator = torch.Generator().manual_seed((self.config.seed << 32) + step)
        before = TrackRefinement(*(values[chosen] for values in self.fit))
        fit = refine_poses(
            self.portrait, looks, self.tracked[chosen], before, generator, lambda: self.progress("head", step, steps)
        )
        self.adopt(fit.between(chosen, count))

    def audio(self) -> None:
        """Sound to lip codes, by regression on the lips of the footage: short, so it starts over when interrupted."""
        name, device, listeners = self.dataset.manifest["features"]["name"], self.config.device, self.portrait.audio
        features, codes, valid = (
            torch.from_numpy(one).to(device) for one in (self.dataset.features(), self.codes, self.track.valid)
        )
        count = len(listeners.hears)
        listeners.trust(int(self.track.valid[: self.dataset.held_out_from].sum()) / FPS)
        for number, (encoder, width) in enumerate(zip(listeners.encoders, listeners.hears, strict=True)):
            if from_prior := number == 0 and name == pretrained_encoder.FEATURES:
                trained = np.flatnonzero(self.track.valid[: self.dataset.held_out_from])
                distances = (
                    torch.from_numpy(mouth_distances(self.track.canonical_landmarks[trained])).float().to(device)
                )
                pretrained_encoder.init_from_pretrained(encoder, codes[trained].float(), distances)
            figures = train_encoder(
                encoder,
                features[:, :width],
                codes,
                valid,
                spectrum=min(width, feature_class(name).spectrum),
                frames=range(self.dataset.held_out_from),
                steps=self.config.audio_steps // (2 if from_prior else 1),  # what the prior knows need not be learnt
                seed=self.config.seed,
                from_prior=from_prior,
                progress=lambda _, done, total, part=number: self.progress("audio", part + done / total, count),
            )
            self.run.append_metrics(phase="audio", hears=width, **figures)

    def restart(self) -> None:
        """After a collapse: another seed, and the masks pull harder (head_loss)."""
        restarts = self.position["restarts"] + 1
        if restarts > RESTARTS:
            raise TrainingCollapsed(f"The head stayed empty in {restarts} trainings from different starts.")
        self.reinitialize(restarts)
        self.optimizer = None
        self.position = {"phase": "head", "step": 0, "restarts": restarts}

    def reinitialize(self, restarts: int) -> None:
        """A fresh portrait; what hears the sound is kept."""
        audio = self.portrait.audio
        self.start(restarts)
        self.portrait.audio = audio
        self.portrait.set_torso_region(self.footage.torso_region)
        self.adopt(TrackRefinement.none(len(self.tracked), self.config.device))

    def fields(self, phase: str, steps: int) -> bool:
        """The steps that are left of one phase. False where the head has collapsed."""
        self.portrait.requires_grad_(False)
        self.optimizer = self.make_optimizer(phase)
        if self.position["step"] > 0:
            load_optimizer(self.run, self.optimizer)
        for step in range(self.position["step"], steps):
            self.progress(phase, step, steps)
            if phase == "head" and step in [round(part * steps) for part in REFINE_AT]:
                self.refine(step, steps)
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"] * self.learning_rate(step, steps)
            batch = self.sample(phase, step)
            generator = torch.Generator().manual_seed((self.config.seed << 32) + step)
            loss, error, opacity = (self.head_step if phase == "head" else self.torso_step)(batch, generator)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.position["step"] = step + 1
            if phase == "head":
                self.update_density_grid(step, batch, generator)
                if step == COLLAPSE_STEP and opacity < COLLAPSE_OPACITY:
                    return False
            if step % REPORT_EVERY == 0 or step == steps - 1:
                psnr = -10 * math.log10(max(float(error), 1e-9))
                self.run.append_metrics(
                    phase=phase, step=step, loss=float(loss.detach()), psnr=round(psnr, 2), opacity=float(opacity)
                )
            if (step + 1) % self.config.checkpoint_every == 0 and step + 1 < steps:
                self.save()
                self.previewer().strip(self.run, f"{phase}_{step + 1:06d}")
        self.optimizer = None
        self.progress(phase, steps, steps)
        return True

    def make_optimizer(self, phase: str) -> torch.optim.Optimizer:
        """For the weights that `phase` trains; all others stay as they are."""
        modules = (self.portrait.head, self.portrait.decoder) if phase == "head" else (self.portrait.torso,)
        return make_optimizer(modules)

    def learning_rate(self, step: int, steps: int) -> float:
        """The part of the initial rate that is used at `step`."""
        return learning_rate(step, steps)

    def sample(self, phase: str, step: int) -> RayBatch:
        """The rays of one step; they depend on the seed and the step alone."""
        config = self.config
        squares = self.uses_patches(phase, step)
        return self.footage.sample_rays(config.seed, step, config.rays, config.frames_per_step, phase, squares)

    def uses_patches(self, phase: str, step: int) -> bool:
        """Whether the rays of a step come in squares."""
        return phase == "head" and step >= PATCHES_FROM * self.config.head_steps

    def head_step(self, batch: RayBatch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, squared colour error, opacity where the head must be) of a head step. The lips are the true ones."""
        lips = batch.lips + CODE_NOISE * torch.randn(batch.lips.shape, generator=generator).to(batch.lips.device)
        condition = self.portrait.condition(lips, batch.upper)
        rays = cast_rays(self.portrait.geometry.camera, batch.poses[batch.frame], batch.pixels)
        head = self.portrait.render_head(rays, condition, batch.frame, generator)
        step = self.position["step"]
        loss, error = head_loss(head, batch, step / self.config.head_steps, self.position["restarts"])
        if self.uses_patches("head", step):
            each = self.config.rays // self.config.frames_per_step
            loss = loss + gradient_loss(head, batch, patch_size(each, self.config.size))
        solid = batch.zone == HEAD
        return loss, error, 1 - (head.transmittance.detach() * solid).sum() / solid.sum().clamp(min=1)

    def torso_step(self, batch: RayBatch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, squared colour error, mean opacity) of a torso step: the complete picture, with the head as it stands."""
        noise = POSE_NOISE * torch.randn((len(batch.poses), 6), generator=generator).to(batch.poses.device)
        seen = self.portrait(
            FrameConditions(batch.poses, batch.torso, batch.upper, lips=batch.lips),
            batch.frame,
            batch.pixels,
            batch.background,
            noise,
        )
        loss, error = torso_loss(seen, batch)
        return loss, error, 1 - seen.torso.transmittance.detach().mean()

    @torch.no_grad()
    def update_density_grid(self, step: int, batch: RayBatch, generator: torch.Generator) -> None:
        """Brings the density grid up to date, under the conditions of one of the batch's moments."""
        every = grid_update_interval(self.config.rays)
        if step < UNIFORM_STEPS or (step > UNIFORM_STEPS and step % every):
            return
        condition = self.portrait.condition(batch.lips[:1], batch.upper[:1])[0]
        first = step == UNIFORM_STEPS
        part = (0, 1) if first else (step // every % REFRESH_PARTS, REFRESH_PARTS)
        self.portrait.grid.refresh(
            lambda points: self.portrait.head_density(points, condition), part, generator, forget=first
        )


def grid_update_interval(rays: int) -> int:
    """Steps of so many rays between two refreshes of the density grid."""
    return max(1, REFRESH_RAYS // rays)


def make_optimizer(modules: tuple[torch.nn.Module, ...]) -> torch.optim.Adam:
    """Adam over `modules`: feature planes learn faster than nets."""
    planes, nets = [], []
    for module in modules:
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(True)
            (planes if "levels." in name else nets).append(parameter)
    groups = [{"params": planes, "initial_lr": PLANES_RATE}, {"params": nets, "initial_lr": NETS_RATE}]
    return torch.optim.Adam(groups, lr=NETS_RATE, betas=(0.9, 0.99), eps=1e-12, fused=True)


def learning_rate(step: int, steps: int) -> float:
    """The part of the initial rate that is used at `step`: a short warm-up, then half a cosine down to 1 %."""
    warm = min(1.0, (step + 1) / 30)
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / steps)))
