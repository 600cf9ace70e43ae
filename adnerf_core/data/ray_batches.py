"""Ray batches: the pixels of training frames that a training step renders, and the colours that they should have."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from adnerf_core.config import TORSO_REGION_CELLS
from adnerf_core.data.region_labels import BACKGROUND, TORSO, UNCERTAIN
from adnerf_core.data.training_frames import EYES_BOX, HEAD_BOX, LIP_REGION_BOX, MOUTH_BOX, TrainingFrames

BLINK_EXPONENT = 3
"""The first frame of every batch is drawn with a probability proportional to this power of the closure of its eyes. Without such a
preference training would see few shut eyes, since they are shut in a few percent of the frames only. A larger power would draw little but
the few frames with the most closed eyes. Unmeasured."""
MIN_EYE_CLOSURE = 0.01
"""Least closure (0 open .. 1 shut) in that probability, so that it is positive even in footage without a blink."""
PIXEL_SHARES, PIXEL_SHARES_BLINK = (0.16, 0.12, 0.14), (0.1, 0.05, 0.5)
"""Shares of a frame's rays in the boxes of the mouth, of the lips' region, and of eyes and brows, if rays are single pixels. The rest lie in
the head's box. The second triple applies to the frame that is drawn for its shut eyes: with a share of 0.15 at its eyes, the lids stayed
half open (openness 0.22 instead of the true 0.07, docs/fidelity.md)."""
PATCH_SHARES, PATCH_SHARES_BLINK = (0.35, 0.15, 0.15), (0.2, 0.1, 0.5)
"""The same shares for the centres of patches. A patch at the mouth or in the lips' region has the pixels of the stored frames: it shows a
quarter of the area of another patch if these are twice as large."""
TORSO_CLOSE_UP = 0.3
"""Share of the rays of the torso phase in the lower half of the lips' region: the throat is shown beside the footage at its own size."""


@dataclass(frozen=True)
class RayBatch:
    """Rays through pixels of a few training frames, with the colours and labels that they should reproduce.

    Attributes:
        pixels: (row, col) of each ray in a frame of the run's size, px; pixel centres are at .5.
        frame_index: index of each ray's frame among the frames of the batch.
        frame_numbers: numbers of the batch's frames in the footage.
        poses: camera-to-world of each frame.
        lip_codes: lip code of each frame, measured in the footage.
        upper_face: eyes, brows and gaze of each frame (Track.upper_face).
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
    upper_face: Float[Tensor, "frames 5"]
    torso_motion: Float[Tensor, "frames 4"]
    target: Float[Tensor, "rays 3"]
    background: Float[Tensor, "rays 3"]
    coverage: Float[Tensor, "rays 2"]
    label: UInt8[Tensor, " rays"]

    def parts(self) -> tuple[RayBatch, ...]:
        """Returns what is rendered at a time: two halves, for two threads of a CPU, or on a GPU the whole batch."""
        return (self,) if self.pixels.is_cuda else self.halves()

    def halves(self) -> tuple[RayBatch, RayBatch]:
        """Divides the frames, and their rays, of which each frame has as many, into two batches."""
        frames = len(self.poses) // 2
        rays = frames * (len(self.pixels) // len(self.poses))
        first, second = {}, {}
        for field in fields(self):
            values = getattr(self, field.name)
            count = frames if len(values) == len(self.poses) else rays
            first[field.name], second[field.name] = values[:count], values[count:]
        second["frame_index"] = second["frame_index"] - frames
        return RayBatch(**first), RayBatch(**second)


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
        # Made once: each would be copied to a GPU, for which the host would wait in every step.
        limits = [frames.close_ups.shape[1:3], (self.size, self.size)]
        self.limits = torch.tensor(limits, dtype=torch.float32, device=frames.device)
        self.pixel_bounds, self.patch_bounds = (
            torch.tensor([blink] + [shares] * (frames_per_step - 1), device=frames.device).cumsum(1)
            for blink, shares in ((PIXEL_SHARES_BLINK, PIXEL_SHARES), (PATCH_SHARES_BLINK, PATCH_SHARES))
        )

    def head_batch(self, step: int, patches: bool = False) -> RayBatch:
        """Draws rays in the boxes of head, mouth and eyes; the torso is replaced by the background.

        Args:
            step: step of the head phase.
            patches: whether the rays of a frame are all pixels of one square patch, row by row; otherwise they are single pixels.
        """
        generator, frame_indices, uniform = self._draw(step)
        pixels, close_up = (self._patches if patches else self._random_pixels)(frame_indices, uniform)
        return self._batch(frame_indices, pixels, close_up, generator, without_torso=True)

    def torso_batch(self, step: int) -> RayBatch:
        """Draws rays in the region of the image in which the torso appears in some frame; they show the complete person."""
        generator, frame_indices, uniform = self._draw(step)
        pixels = self.torso_pixels[(uniform[..., 0] * len(self.torso_pixels)).long()]
        throat = uniform.new_full(uniform.shape[:2], LIP_REGION_BOX, dtype=torch.long)
        lower_half = torch.stack([(uniform[..., 0] + 1) / 2, uniform[..., 1]], -1)
        close, close_up = self._pixels_in_boxes(frame_indices, throat, lower_half)
        close_up = close_up & (
            torch.arange(uniform.shape[1], device=uniform.device) < TORSO_CLOSE_UP * uniform.shape[1]
        )
        return self._batch(frame_indices, torch.where(close_up[..., None], close, pixels), close_up, generator, False)

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
        if frames.device != "cpu":  # frames are drawn on the CPU, rays where they are rendered
            generator = step_generator(self.seed, step, device=frames.device)
        shape = (self.frames_per_step, self.rays_per_frame, 2)
        uniform = torch.rand(shape, generator=generator, device=frames.device)
        return generator, frame_indices.to(frames.device, non_blocking=True), uniform

    def _random_pixels(
        self, frame_indices: Int[Tensor, " frames"], uniform: Float[Tensor, "frames rays_per_frame 2"]
    ) -> tuple[Float[Tensor, "frames rays_per_frame 2"], Bool[Tensor, "frames rays_per_frame"]]:
        """Returns the centres of single pixels; PIXEL_SHARES assigns a box to each ray by the ray's index."""
        rays = uniform.shape[1]
        quantile = (torch.arange(rays, device=uniform.device) / rays).expand(len(frame_indices), -1)
        boxes = choose_boxes(quantile, self.pixel_bounds)
        return self._pixels_in_boxes(frame_indices, boxes, uniform)

    def _pixels_in_boxes(
        self,
        frame_indices: Int[Tensor, " frames"],
        boxes: Int[Tensor, "frames rays"],
        uniform: Float[Tensor, "frames rays 2"],
        side: int = 1,
    ) -> tuple[Float[Tensor, "frames rays 2"], Bool[Tensor, "frames rays"]]:
        """Returns the centre of the first pixel of squares that are centred in boxes, and whether its colour is in a close-up.

        Args:
            frame_indices: the frames.
            boxes: index of each square's box. Squares at mouth and lips' region have the pixels of the close-ups.
            uniform: place of the square's centre in the box, 0..1.
            side: of a square, pixels of its own.
        """
        frames = self.frames
        close_up = (boxes == MOUTH_BOX) | (boxes == LIP_REGION_BOX)
        scale = torch.where(close_up, frames.close_up_scale, 1.0)[..., None]
        box = frames.boxes[frame_indices[:, None], boxes] * scale
        corner = box[..., :2] + uniform * (box[..., 2:] - box[..., :2]) - (side - 1) / 2
        low = torch.where(close_up[..., None], frames.close_up_corners[frame_indices, None], 0)
        high = low + torch.where(close_up[..., None], *self.limits) - side
        return (torch.minimum(torch.maximum(corner.floor(), low), high) + 0.5) / scale, close_up

    def _patches(
        self, frame_indices: Int[Tensor, " frames"], uniform: Float[Tensor, "frames rays_per_frame 2"]
    ) -> tuple[Float[Tensor, "frames patch 2"], Bool[Tensor, "frames patch"]]:
        """Returns the pixel centres of one patch a frame, row by row; PATCH_SHARES gives the box in which the patch is centred."""
        side = self.patch_size
        boxes = choose_boxes(uniform[:, 1, :1], self.patch_bounds)
        first, close_up = self._pixels_in_boxes(frame_indices, boxes, uniform[:, :1], side)
        steps = torch.arange(side, device=uniform.device)
        offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
        scale = torch.where(close_up, self.frames.close_up_scale, 1.0)[..., None]
        return first + offsets / scale, close_up.expand(-1, side * side)

    def _batch(
        self,
        frame_indices: Int[Tensor, " frames"],
        pixels: Float[Tensor, "frames rays_per_frame 2"],
        close_up: Bool[Tensor, "frames rays_per_frame"],
        generator: torch.Generator,
        without_torso: bool,
    ) -> RayBatch:
        """Reads the colours, labels and conditions of `pixels`; where `close_up` is true, the colours are those of the close-ups.

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
        noise = torch.rand((len(pixels), 3), generator=generator, device=device)
        background = torch.where((label == UNCERTAIN)[:, None], frames.background[row, col] / 255.0, noise)
        empty = (label == BACKGROUND) | ((label == TORSO) & without_torso)
        stored = (pixels * frames.close_up_scale).long() - frames.close_up_corners[ray_frame]
        rows, cols = stored.unbind(-1)
        close_up, limits = close_up.reshape(-1), frames.close_ups.shape
        near = frames.close_ups[ray_frame, rows.clamp(0, limits[1] - 1), cols.clamp(0, limits[2] - 1)]
        footage = torch.where(close_up[:, None], near, frames.images[ray_frame, row, col])
        footage = footage / (255.0 * frames.exposure[ray_frame])
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


def step_generator(seed: int, step: int, part: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Returns a generator that depends only on its arguments: a resumed run draws the same."""
    return torch.Generator(device).manual_seed(step_seed(seed, step, part))


def step_seed(seed: int, step: int, part: int = 0) -> int:
    """Returns the seed of a part of a step, a different one for each `step` below 2^31, and `part` 0 or 1."""
    return (seed << 32) + (part << 31) + step


def blink_weights(eye_openness: Float[Tensor, " frames"], inliers: Int[Tensor, " inliers"]) -> Float[Tensor, " frames"]:
    """Returns the unnormalised probability that a frame is drawn for its shut eyes: closure^BLINK_EXPONENT, 0 for outliers.

    Args:
        eye_openness: -1 shut .. 1 wide open.
        inliers: indices of the frames that may be drawn.
    """
    weights = ((1 - eye_openness) / 2).clamp(MIN_EYE_CLOSURE, 1) ** BLINK_EXPONENT
    return torch.zeros_like(weights).index_copy(0, inliers, weights[inliers])


def choose_boxes(
    quantile: Float[Tensor, "frames boxes"], upper_bounds: Float[Tensor, "frames 3"]
) -> Int[Tensor, "frames boxes"]:
    """Maps quantiles to indices of boxes.

    Args:
        quantile: 0..1.
        upper_bounds: of each frame, the quantiles below which the box is that of the mouth, of the lips' region (from there on), and of
            the eyes; that of the head follows.
    """
    mouth, region, eyes = (quantile < bound for bound in upper_bounds[..., None].unbind(1))
    boxes = torch.where(region, LIP_REGION_BOX, torch.where(eyes, EYES_BOX, HEAD_BOX))
    return torch.where(mouth, MOUTH_BOX, boxes)
