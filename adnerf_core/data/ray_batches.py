"""Ray batches: the pixels of training frames that a training step renders, and the colours that they should have."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from adnerf_core.config import TORSO_REGION_CELLS
from adnerf_core.data.region_labels import BACKGROUND, TORSO, UNCERTAIN
from adnerf_core.data.training_frames import EYES_BOX, HEAD_BOX, MOUTH_BOX, TrainingFrames

BLINK_EXPONENT = 3
"""The first frame of every batch is drawn with a probability proportional to this power of the closure of its eyes. Without such a
preference training would see few shut eyes, since they are shut in a few percent of the frames only. A larger power would draw little but
the few frames with the most closed eyes. Unmeasured."""
MIN_EYE_CLOSURE = 0.01
"""Least closure (0 open .. 1 shut) in that probability, so that it is positive even in footage without a blink."""
PIXEL_SHARES, PIXEL_SHARES_BLINK = (0.15, 0.15), (0.15, 0.5)
"""Shares of a frame's rays in the box of the mouth, and in the box of eyes and brows, if rays are single pixels. The rest lie in the head's
box. The second pair applies to the frame that is drawn for its shut eyes: with a share of 0.15 at its eyes, the lids stayed half open
(openness 0.22 instead of the true 0.07, docs/fidelity.md)."""
PATCH_SHARES, PATCH_SHARES_BLINK = (0.55, 0.15), (0.3, 0.55)
"""The same shares for the centres of patches. More patches on the mouth raised its sharpness from 0.79 to 0.80 and 0.82 in two runs. Two
runs with equal settings differ by 0.02 (docs/fidelity.md)."""


@dataclass(frozen=True)
class RayBatch:
    """Rays through pixels of a few training frames, with the colours and labels that they should reproduce.

    Attributes:
        pixels: (row, col) of each ray in a frame of the run's size, px; pixel centres are at .5.
        frame_index: index of each ray's frame among the frames of the batch.
        frame_numbers: numbers of the batch's frames in the footage.
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
        generator, frame_indices, uniform = self._draw(step)
        pixels = (self._patches if patches else self._random_pixels)(frame_indices, uniform)
        return self._batch(frame_indices, pixels, generator, without_torso=True)

    def torso_batch(self, step: int) -> RayBatch:
        """Draws rays in the region of the image in which the torso appears in some frame; they show the complete person."""
        generator, frame_indices, uniform = self._draw(step)
        pixels = self.torso_pixels[(uniform[..., 0] * len(self.torso_pixels)).long()]
        return self._batch(frame_indices, pixels, generator, without_torso=False)

    @property
    def patch_size(self) -> int:
        """Side of a frame's patch, px: that of the largest square of at most `rays_per_frame` pixels that fits into the image."""
        return min(math.isqrt(self.rays_per_frame), self.size)

    def _draw(
        self, step: int
    ) -> tuple[torch.Generator, Int[Tensor, " frames"], Float[Tensor, "frames rays_per_frame 2"]]:
        """Returns the step's generator, the indices of the drawn training frames, and two uniform numbers a ray."""
        frames = self.frames
        generator = step_generator(self.seed, step)
        inlier_index = torch.randint(len(frames.inliers), (self.frames_per_step,), generator=generator)
        frame_indices = frames.inliers[inlier_index]
        weights = blink_weights(frames.eye_openness, frames.inliers)
        frame_indices[0] = torch.multinomial(weights, 1, generator=generator)[0]
        uniform = torch.rand((self.frames_per_step, self.rays_per_frame, 2), generator=generator)
        return generator, frame_indices.to(frames.device), uniform.to(frames.device)

    def _random_pixels(
        self, frame_indices: Int[Tensor, " frames"], uniform: Float[Tensor, "frames rays_per_frame 2"]
    ) -> Float[Tensor, "frames rays_per_frame 2"]:
        """Returns the centres of single pixels; PIXEL_SHARES assigns a box to each ray by the ray's index."""
        rays = uniform.shape[1]
        quantile = (torch.arange(rays, device=uniform.device) / rays).expand(len(frame_indices), -1)
        box = self._choose_boxes(frame_indices, quantile, PIXEL_SHARES, PIXEL_SHARES_BLINK)
        pixels = box[..., :2] + uniform * (box[..., 2:] - box[..., :2])
        return pixels.floor().clamp_(0, self.size - 1) + 0.5

    def _patches(
        self, frame_indices: Int[Tensor, " frames"], uniform: Float[Tensor, "frames rays_per_frame 2"]
    ) -> Float[Tensor, "frames patch 2"]:
        """Returns the pixel centres of one patch a frame, row by row; PATCH_SHARES gives the box in which the patch is centred."""
        side_px = self.patch_size
        box = self._choose_boxes(frame_indices, uniform[:, 1, :1], PATCH_SHARES, PATCH_SHARES_BLINK)[:, 0]
        corner = box[:, :2] + uniform[:, 0] * (box[:, 2:] - box[:, :2]) - side_px / 2
        corner = corner.floor().clamp_(0, self.size - side_px)
        centers = torch.arange(side_px, device=uniform.device) + 0.5
        return corner[:, None] + torch.stack(torch.meshgrid(centers, centers, indexing="ij"), -1).reshape(-1, 2)

    def _choose_boxes(
        self,
        frame_indices: Int[Tensor, " frames"],
        quantile: Float[Tensor, "frames boxes"],
        shares: tuple[float, float],
        blink_shares: tuple[float, float],
    ) -> Float[Tensor, "frames boxes 4"]:
        """Maps quantiles to boxes (top, left, bottom, right) in the proportions of the shares.

        Args:
            frame_indices: the frames; the first one was drawn for its shut eyes.
            quantile: 0..1. The lowest quantiles give the mouth's box, the next the eyes', and the rest the head's.
            shares: of the mouth's and of the eyes' box.
            blink_shares: the same for the first frame.
        """
        upper_bounds = quantile.new_tensor([blink_shares] + [shares] * (len(frame_indices) - 1)).cumsum(1)
        mouth, eyes = (quantile < bound for bound in upper_bounds[..., None].unbind(1))
        box = torch.where(mouth, MOUTH_BOX, torch.where(eyes, EYES_BOX, HEAD_BOX))
        return self.frames.boxes[frame_indices[:, None], box]

    def _batch(
        self,
        frame_indices: Int[Tensor, " frames"],
        pixels: Float[Tensor, "frames rays_per_frame 2"],
        generator: torch.Generator,
        without_torso: bool,
    ) -> RayBatch:
        """Reads the colours, labels and conditions of `pixels`.

        Pixels with a certain label are composited over random noise. Over the clean plate, the field could imitate the background with
        matter of its colour, which would show when the head turns or the background is changed. At a pixel that should be empty the
        target is the noise itself, so only empty space fits. At the other certain pixels the target is the footage, so only opaque
        matter fits. UNCERTAIN pixels may show some background, so they are composited over the clean plate.
        """
        frames, device = self.frames, self.frames.device
        frame_index = torch.arange(len(frame_indices), device=device).repeat_interleave(pixels.shape[1])
        pixels = pixels.reshape(-1, 2)
        row, col = pixels.long().unbind(-1)
        ray_frame = frame_indices[frame_index]
        label = frames.labels[ray_frame, row, col]
        noise = torch.rand((len(pixels), 3), generator=generator).to(device)
        background = torch.where((label == UNCERTAIN)[:, None], frames.background[row, col] / 255.0, noise)
        empty = (label == BACKGROUND) | ((label == TORSO) & without_torso)
        footage = frames.images[ray_frame, row, col] / (255.0 * frames.exposure[ray_frame])
        return RayBatch(
            pixels=pixels,
            frame_index=frame_index,
            frame_numbers=frames.frame_numbers[frame_indices],
            poses=frames.poses[frame_indices],
            lip_codes=frames.lip_codes[frame_indices],
            upper_face=frames.upper_face[frame_indices],
            torso_motion=frames.torso_motion[frame_indices],
            target=torch.where(empty[:, None], background, footage),
            background=background,
            coverage=frames.masks[ray_frame, row, col] / 255.0,
            label=label,
        )


def step_generator(seed: int, step: int) -> torch.Generator:
    """Returns a CPU generator that depends only on `seed` and `step` (below 2^32), so a resumed run draws the same numbers."""
    return torch.Generator().manual_seed((seed << 32) + step)


def blink_weights(eye_openness: Float[Tensor, " frames"], inliers: Int[Tensor, " inliers"]) -> Float[Tensor, " frames"]:
    """Returns the unnormalised probability that a frame is drawn for its shut eyes: closure^BLINK_EXPONENT, 0 for outliers.

    Args:
        eye_openness: -1 shut .. 1 wide open.
        inliers: indices of the frames that may be drawn.
    """
    weights = ((1 - eye_openness) / 2).clamp(MIN_EYE_CLOSURE, 1) ** BLINK_EXPONENT
    return torch.zeros_like(weights).index_copy(0, inliers, weights[inliers])
