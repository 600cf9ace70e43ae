"""AdNerfTrainer: the paper's schedule in the common loop: sound and head together, then the torso with all else frozen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from adnerf_core.data.ray_batches import TrainingFrames
from adnerf_core.face.face_boxes import face_rect
from adnerf_core.models.adnerf import AdNerf
from adnerf_core.rendering.volume_rendering import RayOutput, over
from adnerf_core.training.losses import opacity_loss
from adnerf_core.training.preview import Previewer
from adnerf_core.training.trainer import Trainer

MASK_WEIGHT = 0.05
"""Of the masks while the fields warm up; it fades to nothing, and from there on the loss is the paper's."""
SURE = 0.95
"""Coverage from which a pixel surely is the field's; where it is less than one minus this, it surely is not."""


@dataclass(frozen=True)
class FrameRays:
    """Rays of one frame of footage, and what they should show."""

    number: int
    pose: Float[Tensor, "4 4"]
    pixels: Float[Tensor, "rays 2"]
    target: Float[Tensor, "rays 3"]
    plate: Float[Tensor, "rays 3"]
    coverage: Float[Tensor, " rays"]
    """By the field that the phase trains, 0..1."""


class AdNerfTrainer(Trainer):
    """The differences from the fast training: one image a step, the losses, the rates, and what is trained when."""

    portrait: AdNerf

    def lip_targets(self) -> Float[ndarray, "frames code"]:
        """None: the sound enters the fields directly."""
        return np.zeros((self.dataset.frames, 0), np.float32)

    def previewer(self) -> Previewer:
        """Renders the portrait as it stands, with what it hears."""
        with torch.no_grad():
            codes = self.portrait.encode_audio(
                self.features, torch.arange(self.dataset.frames, device=self.features.device)
            )
        return Previewer(self.portrait, self.dataset, self.track, codes.cpu().numpy())

    def audio(self) -> None:
        """Nothing yet: the networks for the sound are trained with the head."""

    def look(self) -> None:
        """Reads the footage; the torso's camera stands where the first frame was seen from."""
        self.footage = TrainingFrames(self.dataset, self.config.size, self.codes, self.config.device)
        self.features = torch.from_numpy(self.dataset.features()).to(self.config.device)
        self.portrait.torso_pose.copy_(self.footage.poses[0])
        landmarks = self.track.landmarks[self.footage.numbers.cpu()] * (self.config.size / self.dataset.size)
        self.faces = [face_rect(points[:, :2], self.config.size) for points in landmarks]

    def reinitialize(self, restarts: int) -> None:
        """A fresh portrait, sound and all."""
        self.start(restarts)
        self.portrait.torso_pose.copy_(self.footage.poses[0])

    def make_optimizer(self, phase: str) -> torch.optim.Optimizer:
        """Adam, over the sound's networks and the head, or over the torso alone."""
        portrait = self.portrait
        modules = (portrait.audio, portrait.attention, portrait.head) if phase == "head" else (portrait.torso,)
        weights = [weight.requires_grad_(True) for module in modules for weight in module.parameters()]
        rate = self.config.paper.rate
        return torch.optim.Adam([{"params": weights, "initial_lr": rate}], lr=rate)

    def learning_rate(self, step: int, steps: int) -> float:
        """Falls to a tenth in every `decay_steps`, however long the phase is."""
        return 0.1 ** (step / self.config.paper.decay_steps)

    def sample(self, phase: str, step: int) -> FrameRays:
        """Rays of one frame: most in the face's rectangle (head) or in the picture's lower half (torso), the rest outside.

        The head phase looks at the head before the plate, the torso phase at the person before the plate.
        """
        footage, size, paper = self.footage, self.config.size, self.config.paper
        generator = torch.Generator().manual_seed((self.config.seed << 32) + step)
        chosen = int(torch.randint(len(footage.numbers), (1,), generator=generator))
        inside = torch.zeros((size, size), dtype=torch.bool)
        x, y, width, height = self.faces[chosen] if phase == "head" else (0, size // 2, size, size - size // 2)
        inside[y : y + height, x : x + width] = True
        rays = self.config.rays if phase == "head" else paper.torso_rays
        pixels = draw_pixels(inside, rays, paper.face_share, generator).to(footage.device)
        row, col = pixels.unbind(-1)
        plate = footage.plate[row, col] / 255.0
        masks = footage.masks[chosen, row, col] / 255.0
        shown = masks[:, 0] if phase == "head" else masks.sum(-1).clamp(max=1)
        picture = footage.pictures[chosen, row, col] / 255.0
        return FrameRays(
            number=int(footage.numbers[chosen]),
            pose=footage.poses[chosen],
            pixels=pixels + 0.5,
            target=shown[:, None] * picture + (1 - shown[:, None]) * plate,
            plate=plate,
            coverage=masks[:, 0] if phase == "head" else masks[:, 1],
        )

    def head_step(self, batch: FrameRays, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, squared colour error, opacity where the head must be): the head alone, before the plate."""
        self.portrait.attends.fill_(self.position["step"] >= self.config.paper.attention_from * self.config.head_steps)
        head = self.portrait.render_head(batch.pose, batch.pixels, self.encode_audio(batch.number), generator)
        return self.judge(head.coarse, head.fine, batch.plate, batch)

    def torso_step(self, batch: FrameRays, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, squared colour error, opacity where the torso must be): the complete picture, with the head as it stands."""
        with torch.no_grad():
            code = self.encode_audio(batch.number)
            head = self.portrait.render_head(batch.pose, batch.pixels, code).fine
        torso = self.portrait.render_torso(batch.pose, batch.pixels, code, generator)
        return self.judge(torso.coarse, torso.fine, over(head, batch.plate), batch)

    def encode_audio(self, number: int) -> Float[Tensor, " code"]:
        """The code of one frame."""
        return self.portrait.encode_audio(self.features, torch.tensor([number], device=self.features.device))[0]

    def judge(
        self, coarse: RayOutput, fine: RayOutput, behind: Float[Tensor, "rays 3"], batch: FrameRays
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The paper's loss, both nets against the picture; and in the first steps, opacity against the masks.

        With the colours alone many a start ends in an empty field, because a plate behind nothing explains most rays well.
        After a restart the masks pull four times as hard.
        """
        error, first = (((over(one, behind) - batch.target) ** 2).mean() for one in (fine, coarse))
        solid = batch.coverage > SURE
        warm = max(0.0, 1 - self.position["step"] / max(1, self.config.paper.warmup_steps))
        loss = error + first
        if warm:
            masks = sum(opacity_loss(one, solid, batch.coverage < 1 - SURE) for one in (fine, coarse))
            loss = loss + MASK_WEIGHT * 4 ** self.position["restarts"] * warm * masks
        opacity = 1 - (fine.transmittance.detach() * solid).sum() / solid.sum().clamp(min=1)
        return loss, error.detach(), opacity

    def refine(self, step: int, steps: int) -> None:
        """Nothing: the paper's track stays as it was given."""

    def update_density_grid(self, step: int, batch: FrameRays, generator: torch.Generator) -> None:
        """Nothing to keep: the paper samples along the whole ray."""


def draw_pixels(inside: Tensor, count: int, share: float, generator: torch.Generator) -> Int[Tensor, "pixels 2"]:
    """`count` pixels (row, col) of a picture: `share` of them where `inside` [rows, cols] is true, the others elsewhere.

    Where one of the two places has no pixel, all come from the other.
    """
    places = [where.nonzero() for where in (inside, ~inside)]
    within = round(count * share) if len(places[0]) and len(places[1]) else count * bool(len(places[0]))
    drawn = [
        place[torch.randint(len(place), (n,), generator=generator)]
        for place, n in zip(places, (within, count - within), strict=True)
        if n
    ]
    return torch.cat(drawn)
