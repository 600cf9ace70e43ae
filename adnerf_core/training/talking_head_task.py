"""TalkingHeadTask: trains a TalkingHead: the audio encoders, then the head's field with refined poses, then the torso's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.cameras.cameras import cast_rays
from adnerf_core.config import TrainConfig
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.data.ray_batches import RayBatch, RayBatchSampler, step_generator
from adnerf_core.data.region_labels import HEAD
from adnerf_core.data.training_frames import MOUTH_BOX, TrainingFrames
from adnerf_core.face.lip_pca import LipPca
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.progress import Progress
from adnerf_core.synthesis.playback import PlayableFrames
from adnerf_core.training.audio_stage import train_audio_encoders
from adnerf_core.training.losses import add_smoothness_gradient, gradient_loss, head_loss, torso_loss
from adnerf_core.training.optimizers import average_weights, learning_rate, make_optimizer, use_average
from adnerf_core.training.pose_refinement import AlignmentFrames, refine_poses
from adnerf_core.training.task import Phase, StepLoss, initialize_model
from adnerf_core.training.torso_refinement import refine_torso
from adnerf_core.training.track_refinement import (
    TrackRefinement,
    apply_pose_delta,
    interpolate,
    refine_track,
    smooth_poses,
)

CODE_NOISE = 0.1
"""Standard deviation of the noise on lip codes, which are standardised. Without it the field could recognise a training frame by its
code and learn its errors. Unmeasured."""
POSE_NOISE = 0.4
"""Standard deviation of the noise on the head's pose that the torso is conditioned on (standardised). With .1, the shoulders in poses
that training does not see are left to chance: the PSNR of their outline differs by 1.5 dB between seeds, with .4 by .2 dB
(docs/fidelity.md, the torso)."""
PATCHES_FROM = 0.8
"""Share of the head phase after which the rays of a frame are one patch, and `gradient_loss` is added: detail is sharpened once the
shape is found (docs/decisions/0017-sharper-portrait.md)."""
REFINE_AT = (0.15, 0.3, 0.45, 0.6)
"""Shares of the head phase at which the track is refined: the head must be recognisable before, and the field must still have time to
use the better poses after. Refinement raised the sharpness of the head from .75 to .80, and costs an eighth more time
(docs/fidelity.md)."""
REFINE_TORSO_AT = (0.25, 0.45, 0.65)
"""Shares of the torso phase at which the torso's motion is refined: the shoulders must be recognisable before, and the field must still have
time to use the better motion after. 1,500 steps give what 2,500 on the tracked motion do (docs/fidelity.md)."""
TORSO_FORMED_STEPS = 200
"""Steps of the torso phase before which its motion is not refined. In a phase of 300 steps, refined first after 75, a drawn
speaker's torso lost 7 dB; after 225 of 900 it gained 2 (docs/fidelity.md). All presets have 1,500 or more."""
UNIFORM_STEPS = 100
"""Steps before the density grid is filled from the field; until then it is uniform. Filled earlier, the grid misses matter that has not
formed yet, and rays then hardly sample there. Unmeasured."""
GRID_UPDATE_RAYS, GRID_UPDATE_PARTS = 16 * 4096, 4
"""After every GRID_UPDATE_RAYS rays, one of GRID_UPDATE_PARTS parts of the grid is evaluated anew, so that its cost is a constant
share of the training: with 64^3 cells, one density a ray beside the samples of the ray."""
REFINE_EVERY = 2
"""Every second frame is rendered to refine the track; the corrections of the others are interpolated. Corrections are smoothed over
several frames anyway, and the cost is halved."""


class TalkingHeadTask:
    """A TrainingTask (see task.py) for the fast model.

    Attributes:
        frames: the training frames, with the refined poses.
        sampler: draws the ray batches from `frames`.
        tracked_poses, tracked_torso: the poses and the torso's motion of `frames` as they were tracked.
        refinement: the corrections of the track; None before the frames are loaded.
        torso_delta: corrections of the torso's motion in `frames`.
        restarts: restarts after a collapse so far.
    """

    model: TalkingHead
    frames: TrainingFrames
    sampler: RayBatchSampler
    tracked_poses: Float[Tensor, "frames 4 4"]
    tracked_torso: Float[Tensor, "frames 4"]
    torso_delta: Float[Tensor, "frames 4"]

    def __init__(self, dataset: SubjectDataset, config: TrainConfig, restarts: int = 0):
        self.dataset, self.config = dataset, config
        self.track = dataset.track()
        trained = np.flatnonzero(self.track.valid[: dataset.held_out_from])
        self.lip_pca = LipPca.fit(self.track.canonical_landmarks[trained], config.field.lip_code)
        self.lip_codes = self.lip_pca.encode(self.track.canonical_landmarks)
        self.refinement: TrackRefinement | None = None
        self._build_model(restarts)
        self.phases = (HeadPhase(self), TorsoPhase(self))

    def _build_model(self, restarts: int) -> None:
        """Makes a model with fresh weights."""
        self.restarts = restarts
        self.model = initialize_model(self.dataset, self.track, self.config, restarts)

    def train_audio(self, run: RunDir, progress: Progress) -> None:
        """Trains the audio encoders by regression on the lip codes of the footage. If interrupted, it starts from the beginning."""
        train_audio_encoders(self.model.audio, self.dataset, self.track, self.lip_codes, self.config, run, progress)

    def load_frames(self, extra: dict[str, Tensor]) -> None:
        """Loads the training frames, and restores the refinement of a checkpoint."""
        self.frames = TrainingFrames(self.dataset, self.config.size, self.lip_codes, self.config.device)
        self.sampler = RayBatchSampler(self.frames, self.config.rays, self.config.frames_per_step, self.config.seed)
        self.model.set_torso_region(self.frames.torso_region)
        self.tracked_poses, self.tracked_torso = self.frames.poses, self.frames.torso_motion
        self._move_torso(extra.get("torso", torch.zeros_like(self.tracked_torso)).to(self.config.device))
        if extra:
            self.apply_refinement(TrackRefinement.from_tensors(extra).to(self.config.device))
        else:
            self.apply_refinement(TrackRefinement.identity(len(self.tracked_poses), self.config.device))

    def restart(self, restarts: int) -> None:
        """Makes the fields anew. The audio encoders are kept; the refinement is dropped, as the collapsed field made it."""
        audio = self.model.audio
        self._build_model(restarts)
        self.model.audio = audio
        self.model.set_torso_region(self.frames.torso_region)
        self.apply_refinement(TrackRefinement.identity(len(self.tracked_poses), self.config.device))

    def extra_tensors(self) -> dict[str, Tensor]:
        """Returns the refinement of the track."""
        return {} if self.refinement is None else self.refinement.to_tensors() | {"torso": self.torso_delta}

    def refined_track(self) -> Track:
        """Returns the refined track, smoothed over time."""
        if self.refinement is None:
            return self.track
        numbers, deltas = self.frames.frame_numbers.cpu().numpy(), self.refinement.pose_delta.cpu().numpy()
        track = refine_track(self.track, numbers, deltas)
        moved = interpolate(self.torso_delta.cpu().numpy(), numbers, len(track.torso)).astype(track.torso.dtype)
        pose = smooth_poses(torch.from_numpy(track.pose)).numpy()
        return dataclasses.replace(track, pose=pose, torso=track.torso + moved)

    def playable_frames(self) -> PlayableFrames:
        """Returns the frames that may be shown, and the exposures that the refinement found, interpolated."""
        numbers, count = self.frames.frame_numbers.cpu().numpy(), len(self.track.valid)
        fits = np.zeros((len(numbers), 1), np.float32)
        fits[self.refinement.inliers().cpu().numpy()] = 1
        known = np.concatenate([self.refinement.exposure.cpu().numpy(), fits], -1)
        values = interpolate(known, numbers, count).astype(np.float32)
        usable = self.track.valid & (values[:, 3] > 0.5)
        return PlayableFrames.learnt(values[:, :3], usable, self.dataset.held_out_from)

    def preview_codes(self) -> Float[ndarray, "frames code"]:
        """Returns the lip codes that were measured in the footage."""
        return self.lip_codes

    def apply_refinement(self, refinement: TrackRefinement) -> None:
        """Goes on with other poses, exposures and inliers."""
        self.refinement = refinement
        poses = apply_pose_delta(self.tracked_poses, refinement.pose_delta)
        self.frames.set_refinement(poses, refinement.exposure, refinement.inliers())

    def refine_poses(self, step: int, tick: Callable[[], None]) -> None:
        """Moves the poses of the training frames to where the rendered head looks most like the footage.

        Args:
            step: step of the head phase, which seeds the choice of pixels.
            tick: is called every few frames.
        """
        alignment, generator = self._alignment(), step_generator(self.config.seed, step)
        before, poses = self.refinement.select(alignment.indices), self.tracked_poses[alignment.indices]
        refined = refine_poses(self.model, alignment, poses, before, generator, tick)
        self.apply_refinement(refined.interpolate(alignment.indices, len(self.tracked_poses)))

    def refine_torso(self, step: int, tick: Callable[[], None]) -> None:
        """Moves the torso of the training frames to where it looks most like the footage.

        Args:
            step: step of the torso phase, which seeds the choice of pixels.
            tick: is called every few frames.
        """
        alignment, generator, frames = self._alignment(), step_generator(self.config.seed, step), self.frames
        chosen = alignment.indices
        poses, motion, exposure = frames.poses[chosen], self.tracked_torso[chosen], frames.exposure[chosen]
        delta = refine_torso(self.model, alignment, poses, motion, exposure, generator, tick)
        delta = interpolate(delta.cpu().numpy(), chosen.cpu().numpy(), len(self.tracked_torso))
        self._move_torso(torch.from_numpy(delta).to(self.tracked_torso))

    def _move_torso(self, delta: Float[Tensor, "frames 4"]) -> None:
        """Goes on with other corrections of the torso's motion."""
        self.torso_delta, self.frames.torso_motion = delta, self.tracked_torso + delta

    def _alignment(self) -> AlignmentFrames:
        """Returns the frames that are rendered to refine the track."""
        frames = self.frames
        return AlignmentFrames(
            indices=torch.arange(0, len(self.tracked_poses), REFINE_EVERY, device=self.tracked_poses.device),
            images=frames.images,
            masks=frames.masks,
            mouth_boxes=frames.boxes[:, MOUTH_BOX],
            condition=self.model.condition(frames.lip_codes, frames.upper_face),
            background=frames.background / 255,
        )


class HeadPhase(Phase):
    """Trains the head's field and the colour decoder before the background; the track is refined on the way."""

    name, can_collapse = "head", True

    def __init__(self, task: TalkingHeadTask):
        self.task = task
        self.steps = task.config.head_steps

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes the optimizer of the head's field and the colour decoder."""
        return make_optimizer((self.task.model.head, self.task.model.decoder))

    def learning_rate(self, step: int) -> float:
        """Returns the factor of the schedule in optimizers.py."""
        return learning_rate(step, self.steps)

    def before_step(self, step: int, tick: Callable[[], None]) -> None:
        """Refines the track at the steps of REFINE_AT."""
        if step in [round(share * self.steps) for share in REFINE_AT]:
            self.task.refine_poses(step, tick)

    def uses_patches(self, step: int) -> bool:
        """Returns whether the rays of `step` form patches."""
        return step >= PATCHES_FROM * self.steps

    def sample(self, step: int) -> tuple[RayBatch, ...]:
        """Draws single pixels, or at the end patches, of head, mouth and eyes."""
        return self.task.sampler.head_batch(step, self.uses_patches(step)).parts()

    def kind(self, step: int) -> bool:
        """Returns whether there are patches."""
        return self.uses_patches(step)

    def loss(self, batch: RayBatch, step: int, done: Float[Tensor, ""], generator: torch.Generator) -> StepLoss:
        """Renders the head with the lips of the footage. The opacity is that of the rays labelled HEAD."""
        model, task = self.task.model, self.task
        noise = torch.randn(batch.lip_codes.shape, generator=generator, device=batch.lip_codes.device)
        condition = model.condition(batch.lip_codes + CODE_NOISE * noise, batch.upper_face)
        rays = cast_rays(model.geometry.camera, batch.poses[batch.frame_index], batch.pixels)
        head = model.render_head(rays, condition, batch.frame_index, generator)
        loss, color_error = head_loss(head, batch, done, task.restarts)
        if self.uses_patches(step):
            loss = loss + gradient_loss(head, batch, task.sampler.patch_size)
        solid = batch.label == HEAD
        opacity = 1 - (head.transmittance.detach() * solid).sum() / solid.sum().clamp(min=1)
        return StepLoss(loss, color_error, opacity)

    def smooth(self, step: int) -> None:
        """Adds the gradient of the roughness of the head's planes."""
        add_smoothness_gradient(self.task.model.head, step)

    @torch.no_grad()
    def after_step(self, step: int, batch: RayBatch, generator: torch.Generator) -> None:
        """Updates the density grid, under the condition of the batch's first frame."""
        interval = grid_update_interval(self.task.config.rays)
        if step < UNIFORM_STEPS or (step > UNIFORM_STEPS and step % interval):
            return
        model = self.task.model
        condition = model.condition(batch.lip_codes[:1], batch.upper_face[:1])[0]
        first = step == UNIFORM_STEPS
        part = (0, 1) if first else (step // interval % GRID_UPDATE_PARTS, GRID_UPDATE_PARTS)
        model.grid.update(lambda points: model.head_density(points, condition), part, generator, reset=first)

    def average(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Averages the weights of the last steps."""
        average_weights(optimizer, step, self.steps)

    def finish(self, optimizer: torch.optim.Optimizer, tick: Callable[[], None]) -> None:
        """Makes the averaged weights the model."""
        use_average(optimizer)


class TorsoPhase(Phase):
    """Trains the torso's field in the complete picture; the head's field stays as it is."""

    name, can_collapse = "torso", False

    def __init__(self, task: TalkingHeadTask):
        self.task = task
        self.steps = task.config.torso_steps

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes the optimizer of the torso's field."""
        return make_optimizer((self.task.model.torso,))

    def learning_rate(self, step: int) -> float:
        """Returns the factor of the schedule in optimizers.py."""
        return learning_rate(step, self.steps)

    def before_step(self, step: int, tick: Callable[[], None]) -> None:
        """Refines the torso's motion at the steps of REFINE_TORSO_AT, once the torso has formed."""
        if step >= TORSO_FORMED_STEPS and step in [round(share * self.steps) for share in REFINE_TORSO_AT]:
            self.task.refine_torso(step, tick)

    def sample(self, step: int) -> tuple[RayBatch, ...]:
        """Draws pixels in the torso's region."""
        return self.task.sampler.torso_batch(step).parts()

    def kind(self, step: int) -> str:
        """Returns the same for all steps."""
        return self.name

    def loss(self, batch: RayBatch, step: int, done: Float[Tensor, ""], generator: torch.Generator) -> StepLoss:
        """Renders the complete picture with the lips of the footage. The opacity is the torso's, over all rays."""
        noise = POSE_NOISE * torch.randn((len(batch.poses), 6), generator=generator, device=batch.poses.device)
        conditions = FrameConditions(batch.poses, batch.torso_motion, batch.upper_face, batch.lip_codes)
        rendered = self.task.model(conditions, batch.pixels, batch.background, batch.frame_index, noise)
        loss, color_error = torso_loss(rendered, batch)
        return StepLoss(loss, color_error, 1 - rendered.torso.transmittance.detach().mean())

    def smooth(self, step: int) -> None:
        """Adds the gradient of the roughness of the torso's planes."""
        add_smoothness_gradient(self.task.model.torso.planes, step)

    def average(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Averages the weights of the last steps."""
        average_weights(optimizer, step, self.steps)

    def finish(self, optimizer: torch.optim.Optimizer, tick: Callable[[], None]) -> None:
        """Makes the averaged weights the model, and refines the motion of a torso that has formed, for the videos that play it."""
        use_average(optimizer)
        if self.steps >= TORSO_FORMED_STEPS:
            self.task.refine_torso(self.steps, tick)


def grid_update_interval(rays: int) -> int:
    """Returns the steps between two updates of the density grid, for steps of `rays` rays."""
    return max(1, GRID_UPDATE_RAYS // rays)
