"""Ray batches: which pixels of which training frames a step renders, and the colours that it compares them with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from adnerf_core.config import TORSO_REGION_CELLS
from adnerf_core.data.region_labels import BACKGROUND, EDGE, TORSO
from adnerf_core.data.training_frames import EYES_BOX, HEAD_BOX, MOUTH_BOX, TrainingFrames

BLINK_EXPONENT = 3
"""The first frame of every batch is drawn with a probability proportional to this power of how far the eyes are shut: eyes are shut in
a few percent of the frames only. With a larger power the batch would see nothing but the few most closed eyes. Unmeasured."""
MIN_EYE_CLOSURE = 0.01
"""Least closure (0 open .. 1 shut) in that probability, so that it is positive even in footage without a blink."""
PIXEL_SHARES, PIXEL_SHARES_BLINK = (0.15, 0.15), (0.15, 0.5)
"""Shares of single pixels in the box of the mouth, and in that of eyes and brows (the rest: in the head's box), and the shares in the
frame that is drawn for its shut eyes. With .15 there the lids stayed half open: openness .22 instead of .07 (docs/fidelity.md)."""
PATCH_SHARES, PATCH_SHARES_BLINK = (0.55, 0.15), (0.3, 0.55)
"""The same for the centres of patches. With more patches on the mouth its sharpness rose from .79 to .80 and .82 in two runs;
equal settings differ by .02 (docs/fidelity.md)."""


@dataclass(frozen=True)
class RayBatch:
    """Rays through pixels of a few training frames, and what they should show.

    Attributes:
        pixels: (row, col) of the ray, px, of a frame of the run's size; pixel centres are at .5.
        frame_index: the frame of each ray, an index into the batch's frames.
        frame_numbers: the numbers of the batch's frames in the footage.
        poses: camera-to-world of each frame.
        lip_codes: lip code of each frame, measured in the footage.
        upper_face: eye openness and brow height of each frame (Track.upper_face).
        torso_motion: motion of the upper body in each frame (Track.torso).
        target: the colour that the ray should show over `background`, 0..1.
        background: the colour behind the person, 0..1.
        coverage: by head and torso, 0..1.
        label: see `region_labels`.
    """

    pixels: Float[Tensor, "rays 2"]
    frame_index: Int[Tensor, " rays"]
    frame_numbers: Int[Tensor, " frames"]
    poses: Float[Tensor, "frames 4 4"]
    lip_codes: Float[Tensor, "frames code"]
    upper_face: Float[Tensor, "frames 2"]
    torso_motion: Float[Tensor, "frames 4"]
    target: Float[Tensor, "rays 3"]
    background: Float[Tensor, "rays 3"]
    coverage: Float[Tensor, "rays 2"]
    label: UInt8[Tensor, " rays"]


class RayBatchSampler:
    """Draws the ray batches of the fast model. A batch depends on the seed and the step alone, so a resumed run draws the same."""

    def __init__(self, frames: TrainingFrames, rays: int, frames_per_step: int, seed: int):
        """Prepares drawing.

        Args:
            frames: the training frames.
            rays: rays of a batch, split evenly among its frames.
            frames_per_step: frames of a batch.
            seed: of the run.
        """
        self.frames, self.frames_per_step, self.seed = frames, frames_per_step, seed
        self.rays_per_frame = rays // frames_per_step
        self.size = frames.camera.width
        pixels = frames.camera.pixel_grid(frames.device)
        cells = (pixels * (TORSO_REGION_CELLS / self.size)).long()
        self.torso_pixels = pixels[frames.torso_region[cells[:, 0], cells[:, 1]]]

    def head_batch(self, step: int, patches: bool = False) -> RayBatch:
        """Draws rays in the boxes of head, mouth and eyes; the torso is replaced by the background.

        Args:
            step: step of the head phase.
            patches: whether the rays of a frame are all pixels of one square patch, row by row; otherwise they are single pixels.
        """
        generator, chosen, uniform = self._draw(step)
        pixels = (self._patches if patches else self._random_pixels)(chosen, uniform)
        return self._batch(chosen, pixels, generator, without_torso=True)

    def torso_batch(self, step: int) -> RayBatch:
        """Draws rays in the region of the picture in which the torso is ever seen; they show the complete person."""
        generator, chosen, uniform = self._draw(step)
        pixels = self.torso_pixels[(uniform[..., 0] * len(self.torso_pixels)).long()]
        return self._batch(chosen, pixels, generator, without_torso=False)

    @property
    def patch_size(self) -> int:
        """Edge, px, of the patch of a frame: the largest square of at most `rays_per_frame` pixels that the picture holds."""
        return min(math.isqrt(self.rays_per_frame), self.size)

    def _draw(self, step: int) -> tuple[torch.Generator, Int[Tensor, " frames"], Float[Tensor, "frames each 2"]]:
        """Returns the step's generator, the chosen frames and two uniform numbers a ray."""
        frames = self.frames
        generator = step_generator(self.seed, step)
        chosen = torch.randint(len(frames.inliers), (self.frames_per_step,), generator=generator)
        chosen = frames.inliers[chosen]
        weights = blink_weights(frames.eye_openness, frames.inliers)
        chosen[0] = torch.multinomial(weights, 1, generator=generator)[0]
        uniform = torch.rand((self.frames_per_step, self.rays_per_frame, 2), generator=generator)
        return generator, chosen.to(frames.device), uniform.to(frames.device)

    def _random_pixels(
        self, chosen: Int[Tensor, " frames"], uniform: Float[Tensor, "frames each 2"]
    ) -> Float[Tensor, "frames each 2"]:
        """Returns the centres of single pixels, in the boxes that PIXEL_SHARES assigns to the rays in order."""
        each = uniform.shape[1]
        quantile = (torch.arange(each, device=uniform.device) / each).expand(len(chosen), -1)
        box = self._choose_boxes(chosen, quantile, PIXEL_SHARES, PIXEL_SHARES_BLINK)
        pixels = box[..., :2] + uniform * (box[..., 2:] - box[..., :2])
        return pixels.floor().clamp_(0, self.size - 1) + 0.5

    def _patches(
        self, chosen: Int[Tensor, " frames"], uniform: Float[Tensor, "frames each 2"]
    ) -> Float[Tensor, "frames patch 2"]:
        """Returns the pixel centres of one patch a frame, row by row; PATCH_SHARES says in which box the patch is centred."""
        edge = self.patch_size
        box = self._choose_boxes(chosen, uniform[:, 1, :1], PATCH_SHARES, PATCH_SHARES_BLINK)[:, 0]
        corner = box[:, :2] + uniform[:, 0] * (box[:, 2:] - box[:, :2]) - edge / 2
        corner = corner.floor().clamp_(0, self.size - edge)
        centers = torch.arange(edge, device=uniform.device) + 0.5
        return corner[:, None] + torch.stack(torch.meshgrid(centers, centers, indexing="ij"), -1).reshape(-1, 2)

    def _choose_boxes(
        self,
        chosen: Int[Tensor, " frames"],
        quantile: Float[Tensor, "frames each"],
        shares: tuple[float, float],
        blink_shares: tuple[float, float],
    ) -> Float[Tensor, "frames each 4"]:
        """Returns the box (top, left, bottom, right) at each `quantile` (0..1) of the shares (mouth, eyes; the rest is the head's).

        The first frame is the one that is drawn for its shut eyes; it has `blink_shares`.
        """
        upper_bounds = quantile.new_tensor([blink_shares] + [shares] * (len(chosen) - 1)).cumsum(1)
        mouth, eyes = (quantile < bound for bound in upper_bounds[..., None].unbind(1))
        box = torch.where(mouth, MOUTH_BOX, torch.where(eyes, EYES_BOX, HEAD_BOX))
        return self.frames.boxes[chosen[:, None], box]

    def _batch(
        self,
        chosen: Int[Tensor, " frames"],
        pixels: Float[Tensor, "frames each 2"],
        generator: torch.Generator,
        without_torso: bool,
    ) -> RayBatch:
        """Reads what the chosen pixels should show.

        A pixel that surely is person, or surely is not, has noise as its background. With the clean plate, matter in the colour of
        the plate would explain the footage as well as empty space does, and would show as soon as the head turns or the background
        is changed.
        """
        frames, device = self.frames, self.frames.device
        frame_index = torch.arange(len(chosen), device=device).repeat_interleave(pixels.shape[1])
        pixels = pixels.reshape(-1, 2)
        row, col = pixels.long().unbind(-1)
        image = chosen[frame_index]
        label = frames.labels[image, row, col]
        noise = torch.rand((len(pixels), 3), generator=generator).to(device)
        background = torch.where((label == EDGE)[:, None], frames.background[row, col] / 255.0, noise)
        empty = (label == BACKGROUND) | ((label == TORSO) & without_torso)
        footage = frames.images[image, row, col] / (255.0 * frames.exposure[image])
        return RayBatch(
            pixels=pixels,
            frame_index=frame_index,
            frame_numbers=frames.frame_numbers[chosen],
            poses=frames.poses[chosen],
            lip_codes=frames.lip_codes[chosen],
            upper_face=frames.upper_face[chosen],
            torso_motion=frames.torso_motion[chosen],
            target=torch.where(empty[:, None], background, footage),
            background=background,
            coverage=frames.masks[image, row, col] / 255.0,
            label=label,
        )


def step_generator(seed: int, step: int) -> torch.Generator:
    """Returns a CPU generator that depends on seed and step (below 2^32) alone: a resumed run draws the same numbers."""
    return torch.Generator().manual_seed((seed << 32) + step)


def blink_weights(eye_openness: Float[Tensor, " frames"], inliers: Int[Tensor, " inliers"]) -> Float[Tensor, " frames"]:
    """Returns the unnormalised probability of each frame to be drawn for its shut eyes: closure^BLINK_EXPONENT, 0 for outliers.

    Args:
        eye_openness: -1 shut .. 1 wide open.
        inliers: indices of the frames that may be drawn.
    """
    weights = ((1 - eye_openness) / 2).clamp(MIN_EYE_CLOSURE, 1) ** BLINK_EXPONENT
    return torch.zeros_like(weights).index_copy(0, inliers, weights[inliers])
