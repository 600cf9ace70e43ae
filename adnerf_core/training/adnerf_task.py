"""AdNerfTask: the paper's schedule: audio networks and head together, one frame a step; then the torso with everything else frozen.

Guo et al., "AD-NeRF: Audio Driven Neural Radiance Fields for Talking Head Synthesis", ICCV 2021, and the published code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from adnerf_core.config import TrainConfig
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.data.ray_batches import step_generator
from adnerf_core.data.training_frames import TrainingFrames
from adnerf_core.face.face_boxes import face_rect
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.adnerf import AdNerf, CoarseFine
from adnerf_core.progress import Progress
from adnerf_core.rendering.volume_rendering import over
from adnerf_core.synthesis.playback import PlayableFrames
from adnerf_core.training.losses import opacity_loss
from adnerf_core.training.task import Phase, StepLoss, initialize_model

MASK_WEIGHT = 0.05
"""Weight of the masks at the first step; it falls linearly to zero at PaperConfig.warmup_steps, and the loss is the paper's from then on.
With the colours alone many a start ends in an empty field, as the plate behind it explains most rays well."""
RESTART_MASK_FACTOR = 4
"""Factor of MASK_WEIGHT for every restart after a collapse."""
COVERED = 0.95
"""Coverage above which a pixel surely belongs to the field; below one minus this, it surely does not."""
RATE_DECAY = 0.1
"""Factor of the learning rate in every PaperConfig.decay_steps steps, as in the published code."""


@dataclass(frozen=True)
class FrameRays:
    """Rays through pixels of one frame, and what they should show.

    Attributes:
        frame_number: number of the frame in the footage, on the device.
        pose: camera-to-world.
        pixels: (row, col), px; pixel centres are at .5.
        target: colour that should be seen, 0..1.
        background: clean plate, 0..1.
        coverage: by the field that the phase trains, 0..1.
    """

    frame_number: Int[Tensor, " 1"]
    pose: Float[Tensor, "4 4"]
    pixels: Float[Tensor, "rays 2"]
    target: Float[Tensor, "rays 3"]
    background: Float[Tensor, "rays 3"]
    coverage: Float[Tensor, " rays"]


class AdNerfTask:
    """A TrainingTask (see task.py) for the paper's networks.

    Attributes:
        frames: the training frames.
        features: audio features of the footage.
        faces: the face's rectangle (left, top, width, height) in each training frame, px.
        restarts: restarts after a collapse so far.
    """

    model: AdNerf
    frames: TrainingFrames
    features: Float[Tensor, "steps width"]
    faces: list[tuple[int, int, int, int]]

    def __init__(self, dataset: SubjectDataset, config: TrainConfig, restarts: int = 0):
        self.dataset, self.config = dataset, config
        self.track = dataset.track()
        self.lip_pca = None
        self._build_model(restarts)
        self.phases = (HeadPhase(self), TorsoPhase(self))

    def _build_model(self, restarts: int) -> None:
        """Makes a model with fresh weights."""
        self.restarts = restarts
        self.model = initialize_model(self.dataset, self.track, self.config, restarts)

    def train_audio(self, run: RunDir, progress: Progress) -> None:
        """Does nothing: the audio networks are trained in the head phase."""

    def load_frames(self, extra: dict[str, Tensor]) -> None:
        """Loads the training frames and the audio features."""
        size = self.config.size
        no_codes = np.zeros((self.dataset.frames, 0), np.float32)
        self.frames = TrainingFrames(self.dataset, size, no_codes, self.config.device)
        self.features = torch.from_numpy(self.dataset.features()).to(self.config.device)
        self._place_torso_camera()
        landmarks = self.track.landmarks[self.frames.frame_numbers.cpu()] * (size / self.dataset.size)
        self.faces = [face_rect(points[:, :2], size) for points in landmarks]

    def restart(self, restarts: int) -> None:
        """Makes the whole model anew, the audio networks included."""
        self._build_model(restarts)
        self._place_torso_camera()

    def extra_tensors(self) -> dict[str, Tensor]:
        """Returns nothing: the model and the optimizer are the whole state."""
        return {}

    def refined_track(self) -> Track:
        """Returns the dataset's track: the paper does not refine it."""
        return self.track

    def playable_frames(self) -> PlayableFrames:
        """Returns the frames that may be shown; their exposures are not measured."""
        valid = self.track.valid
        return PlayableFrames.learnt(np.ones((len(valid), 3), np.float32), valid, self.dataset.held_out_from)

    @torch.no_grad()
    def preview_codes(self) -> Float[ndarray, "frames code"]:
        """Returns the codes that the audio networks predict at present."""
        frames = torch.arange(self.dataset.frames, device=self.features.device)
        return self.model.encode_audio(self.features, frames).cpu().numpy()

    def encode_frame(self, frame_number: Int[Tensor, " 1"]) -> Float[Tensor, " code"]:
        """Returns the code of one frame of the footage."""
        return self.model.encode_audio(self.features, frame_number)[0]

    def draw_frame(self, step: int) -> tuple[int, torch.Generator]:
        """Draws the frame of a step. Returns its index in `frames`, and the generator for the step's pixels."""
        generator = step_generator(self.config.seed, step)
        return int(torch.randint(len(self.frames.frame_numbers), (1,), generator=generator)), generator

    def frame_rays(self, index: int, pixels: Int[Tensor, "rays 2"], shows_torso: bool) -> FrameRays:
        """Reads what the rays through `pixels` (row, col) should show.

        Args:
            index: index into `frames`.
            pixels: (row, col).
            shows_torso: whether the torso is trained, and the target is the complete person before the clean plate; otherwise the
                head is trained, and the target is the head alone before the clean plate.
        """
        frames = self.frames
        pixels = pixels.to(frames.device, non_blocking=True)
        row, col = pixels.unbind(-1)
        background = frames.background[row, col] / 255.0
        masks = frames.masks[index, row, col] / 255.0
        shown = masks.sum(-1).clamp(max=1) if shows_torso else masks[:, 0]
        image = frames.images[index, row, col] / 255.0
        return FrameRays(
            frame_number=frames.frame_numbers[index : index + 1],
            pose=frames.poses[index],
            pixels=pixels + 0.5,
            target=shown[:, None] * image + (1 - shown[:, None]) * background,
            background=background,
            coverage=masks[:, 1] if shows_torso else masks[:, 0],
        )

    def loss(self, rendered: CoarseFine, behind: Float[Tensor, "rays 3"], batch: FrameRays, step: int) -> StepLoss:
        """Compares the coarse and the fine rendering with the footage (the paper's photometric loss, for both networks).

        loss = mean |C_fine - C|^2 + mean |C_coarse - C|^2 + w (L_fine + L_coarse), where C is the composite over `behind`, L is
        `opacity_loss` against the masks, and w = MASK_WEIGHT * RESTART_MASK_FACTOR^restarts * max(0, 1 - step / warmup_steps).
        """
        fine_error, coarse_error = (
            ((over(output, behind) - batch.target) ** 2).mean() for output in (rendered.fine, rendered.coarse)
        )
        solid, empty = batch.coverage > COVERED, batch.coverage < 1 - COVERED
        warmup = max(0.0, 1 - step / max(1, self.config.paper.warmup_steps))
        loss = fine_error + coarse_error
        if warmup:
            masks = sum(opacity_loss(output, solid, empty) for output in (rendered.fine, rendered.coarse))
            loss = loss + MASK_WEIGHT * RESTART_MASK_FACTOR**self.restarts * warmup * masks
        opacity = 1 - (rendered.fine.transmittance.detach() * solid).sum() / solid.sum().clamp(min=1)
        return StepLoss(loss, fine_error.detach(), opacity)

    def _place_torso_camera(self) -> None:
        """Puts the torso's camera, which does not move, at the pose of the first training frame."""
        self.model.torso_pose.copy_(self.frames.poses[0])


class AdNerfPhase(Phase):
    """The part that both phases share: Adam with one rate that decays exponentially, whatever the length of the phase."""

    def __init__(self, task: AdNerfTask):
        self.task, self.paper = task, task.config.paper

    def optimize(self, *modules: torch.nn.Module) -> torch.optim.Optimizer:
        """Makes Adam over the parameters of `modules`."""
        parameters = [one.requires_grad_(True) for module in modules for one in module.parameters()]
        return torch.optim.Adam([{"params": parameters, "initial_lr": self.paper.rate}], lr=self.paper.rate)

    def learning_rate(self, step: int) -> float:
        """Returns RATE_DECAY^(step / decay_steps)."""
        return RATE_DECAY ** (step / self.paper.decay_steps)


class HeadPhase(AdNerfPhase):
    """Trains the audio networks and the head's volume, before the clean plate."""

    name, can_collapse = "head", True

    def __init__(self, task: AdNerfTask):
        super().__init__(task)
        self.steps = task.config.head_steps

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes the optimizer of the audio networks and the head's volume."""
        return self.optimize(self.task.model.audio, self.task.model.attention, self.task.model.head)

    def sample(self, step: int) -> tuple[FrameRays]:
        """Draws pixels of one frame, most of them in the face's rectangle."""
        index, generator = self.task.draw_frame(step)
        rectangle = rectangle_mask(self.task.config.size, *self.task.faces[index])
        pixels = draw_pixels(rectangle, self.task.config.rays, self.paper.face_share, generator)
        return (self.task.frame_rays(index, pixels, shows_torso=False),)

    def loss(self, batch: FrameRays, step: int, done: Float[Tensor, ""], generator: torch.Generator) -> StepLoss:
        """Renders the head from the audio. AudioAttNet takes part from `attention_from` of the phase on."""
        model = self.task.model
        model.attends.fill_(step >= self.paper.attention_from * self.steps)
        code = self.task.encode_frame(batch.frame_number)
        head = model.render_head(batch.pose, batch.pixels, code, generator)
        return self.task.loss(head, batch.background, batch, step)


class TorsoPhase(AdNerfPhase):
    """Trains the torso's volume before the finished head."""

    name, can_collapse = "torso", False

    def __init__(self, task: AdNerfTask):
        super().__init__(task)
        self.steps = task.config.torso_steps

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Makes the optimizer of the torso's volume."""
        return self.optimize(self.task.model.torso)

    def sample(self, step: int) -> tuple[FrameRays]:
        """Draws pixels of one frame, most of them in the lower half of the picture."""
        index, generator = self.task.draw_frame(step)
        size = self.task.config.size
        lower_half = rectangle_mask(size, 0, size // 2, size, size - size // 2)
        pixels = draw_pixels(lower_half, self.paper.torso_rays, self.paper.face_share, generator)
        return (self.task.frame_rays(index, pixels, shows_torso=True),)

    def loss(self, batch: FrameRays, step: int, done: Float[Tensor, ""], generator: torch.Generator) -> StepLoss:
        """Renders the complete picture; the head has no gradient."""
        model = self.task.model
        with torch.no_grad():
            code = self.task.encode_frame(batch.frame_number)
            head = model.render_head(batch.pose, batch.pixels, code).fine
        torso = model.render_torso(batch.pose, batch.pixels, code, generator)
        return self.task.loss(torso, over(head, batch.background), batch, step)


def rectangle_mask(size: int, left: int, top: int, width: int, height: int) -> Bool[Tensor, "size size"]:
    """Returns a mask of `size` px that is true inside a rectangle."""
    mask = torch.zeros((size, size), dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def draw_pixels(
    inside: Bool[Tensor, "rows cols"], count: int, share: float, generator: torch.Generator
) -> Int[Tensor, "pixels 2"]:
    """Draws pixels with replacement, most of them in one part of the picture.

    Args:
        inside: the preferred part.
        count: number of pixels.
        share: share of the pixels that lie in the preferred part. If one of the two parts is empty, all lie in the other.
        generator: for the draws.

    Returns:
        (row, col) of the pixels, those of the preferred part first.
    """
    parts = [part.nonzero() for part in (inside, ~inside)]
    preferred = round(count * share) if len(parts[0]) and len(parts[1]) else count * bool(len(parts[0]))
    drawn = [
        part[torch.randint(len(part), (number,), generator=generator)]
        for part, number in zip(parts, (preferred, count - preferred), strict=True)
        if number
    ]
    return torch.cat(drawn)
