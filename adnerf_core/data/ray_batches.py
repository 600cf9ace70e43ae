"""Ray batches: the training frames in memory, and the rays that a step draws from them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from adnerf_core.config import TORSO_REGION_CELLS
from adnerf_core.data.dataset import SubjectDataset, face_boxes, interocular_px

BACKGROUND, HEAD, NECK, TORSO, EDGE = range(5)
"""What a pixel means for the head field: see `region_labels`."""
BLINK_EXPONENT = 3
"""One frame of every batch is drawn with a chance that grows with this power of how far the eyes are shut: blinks are rare."""
SCATTERED, SCATTERED_BLINK = (0.15, 0.15), (0.15, 0.5)
"""Shares of the scattered pixels that lie in the mouth's box and in that of eyes and brows (the rest: in the head's); and
those of the frame that was drawn for its shut eyes."""
SQUARES, SQUARES_BLINK = (0.55, 0.15), (0.3, 0.55)
"""Likewise of the centres of squares."""
NECK_DEPTH, EDGE_DEPTH = 0.25, 0.5
"""How far below the head's mask the neck belongs to the head field too, and where the torso proper begins (head units)."""
MASK_MARGIN = 0.03
"""How far inside the person's outline the mask is believed (head units)."""


def region_labels(mask: UInt8[ndarray, "rows cols 2"], unit: float) -> UInt8[ndarray, "rows cols"]:
    """Sorts pixels by what the head field should show there; `unit` is the head unit in px.

    The head field also learns the strip of neck next to the head (NECK), under the torso that is composited in front of it:
    where the torso thins out at the jaw, skin is behind it and not the background, so there is no hole at the neck and no rim.
    Beyond it follows a strip that is left open (EDGE), and the torso proper, where the head is empty. Open too is the rim of
    the person's outline, where masks err: what is called head there may be the background.
    """
    head, torso = mask[..., 0], mask[..., 1].astype(int)
    inside = cv2.distanceTransform((head + torso > 242).astype(np.uint8), cv2.DIST_L2, 3) / unit > MASK_MARGIN
    away = cv2.distanceTransform((head < 128).astype(np.uint8), cv2.DIST_L2, 3) / unit
    zone = np.full(head.shape, EDGE, np.uint8)
    zone[(head < 13) & (torso < 13)] = BACKGROUND
    zone[(head > 242) & inside] = HEAD
    # The border between head and neck is skin on both sides: it must be solid, or the jaw gets a speckled rim.
    zone[(zone != HEAD) & inside & (away < NECK_DEPTH)] = NECK
    zone[(torso > 242) & inside & (away > EDGE_DEPTH)] = TORSO
    return zone


@dataclass(frozen=True)
class RayBatch:
    """Rays of a few frames of footage, and what they should show."""

    pixels: Float[Tensor, "rays 2"]
    frame: Int[Tensor, " rays"]
    """Which of the batch's frames a ray belongs to."""
    numbers: Int[Tensor, " frames"]
    """The batch's frames, as numbers in the footage."""
    poses: Float[Tensor, "frames 4 4"]
    lips: Float[Tensor, "frames code"]
    upper: Float[Tensor, "frames 2"]
    torso: Float[Tensor, "frames 4"]
    target: Float[Tensor, "rays 3"]
    background: Float[Tensor, "rays 3"]
    coverage: Float[Tensor, "rays 2"]
    zone: UInt8[Tensor, " rays"]


class TrainingFrames:
    """The training frames in memory, at the size of the run; uint8, so a minute at 512 px takes 1.6 GB.

    Frame numbers are positions in time; frames without a face are left out.
    """

    def __init__(self, dataset: SubjectDataset, size: int, lips: Float[ndarray, "frames code"], device: str):
        """`lips` are the true lip codes of all frames (NaN where there is none)."""
        track = dataset.track()
        self.device = device
        self.camera = dataset.camera.resized(size)
        numbers = np.flatnonzero(track.valid[: dataset.held_out_from])
        unit = interocular_px(self.camera, track)
        self.pictures = torch.empty((len(numbers), size, size, 3), dtype=torch.uint8, device=device)
        self.masks = torch.empty((len(numbers), size, size, 2), dtype=torch.uint8, device=device)
        self.zones = torch.empty((len(numbers), size, size), dtype=torch.uint8, device=device)
        boxes = np.empty((len(numbers), 3, 4), np.float32)
        for i, k in enumerate(numbers):
            mask = dataset.mask(int(k), size)
            self.pictures[i] = torch.from_numpy(dataset.picture(int(k), size)).to(device)
            self.masks[i] = torch.from_numpy(mask).to(device)
            self.zones[i] = torch.from_numpy(region_labels(mask, unit)).to(device)
            boxes[i] = [_head_box(mask, unit), *face_boxes(dataset, track, int(k), size)]
        self.boxes = torch.from_numpy(boxes.clip(0, size)).to(device)
        self.plate = torch.from_numpy(dataset.background(size)).to(device)
        self.numbers = torch.from_numpy(numbers).to(device)
        self.poses = torch.from_numpy(track.pose[numbers]).float().to(device)
        self.lips = torch.from_numpy(lips[numbers]).float().to(device)
        self.upper = torch.from_numpy(track.upper_face()[numbers]).to(device)
        self.shut = self._blinks(torch.arange(len(numbers)))
        self.torso = torch.from_numpy(track.torso[numbers]).float().to(device)
        self.exposure = torch.ones((len(numbers), 3), device=device)
        self.trusted = torch.arange(len(numbers))
        torso = (self.masks[:, :, :, 1] > 64).any(0).float()[None, None]
        near = torch.nn.functional.max_pool2d(torso, 2 * (size // 32) + 1, 1, size // 32)
        self.torso_region = torch.nn.functional.adaptive_max_pool2d(near, TORSO_REGION_CELLS)[0, 0] > 0
        pixels = self.camera.pixel_grid(device)
        cells = (pixels * (TORSO_REGION_CELLS / size)).long()
        self.torso_pixels = pixels[self.torso_region[cells[:, 0], cells[:, 1]]]

    def adopt(
        self,
        poses: Float[Tensor, "frames 4 4"],
        exposure: Float[Tensor, "frames 3"],
        trusted: Int[Tensor, " trusted"],
    ) -> None:
        """Takes a better track (see refine.py): poses, how bright each frame is (its colours are divided by it), and the frames
        that may be learned from."""
        self.poses, self.exposure, self.trusted = poses, exposure, trusted.cpu()
        self.shut = self._blinks(self.trusted)

    def _blinks(self, trusted: Int[Tensor, " trusted"]) -> Float[Tensor, " frames"]:
        """The chance of each frame (any scale) to be drawn for its shut eyes."""
        shut = ((1 - self.upper[:, 0].cpu()) / 2).clamp(0.01, 1) ** BLINK_EXPONENT
        return torch.zeros_like(shut).index_copy(0, trusted, shut[trusted])

    def _boxes(
        self,
        chosen: Int[Tensor, " frames"],
        die: Float[Tensor, "frames each"],
        usual: tuple[float, float],
        blink: tuple[float, float],
    ) -> Float[Tensor, "frames each 4"]:
        """The boxes (row, col, row, col) that `die` (0..1) throws by these shares; `blink` is for the first frame."""
        shares = die.new_tensor([blink] + [usual] * (len(chosen) - 1)).cumsum(1)
        mouth, eyes = (die < upto for upto in shares[..., None].unbind(1))
        which = torch.where(mouth, 1, torch.where(eyes, 2, 0))
        return self.boxes[chosen[:, None], which]

    def _scattered(
        self, chosen: Int[Tensor, " frames"], uniform: Float[Tensor, "frames each 2"]
    ) -> Float[Tensor, "frames each 2"]:
        """Pixels of the head phase, in the boxes of the head's parts by SCATTERED."""
        die = torch.arange(uniform.shape[1], device=self.device) / uniform.shape[1]
        box = self._boxes(chosen, die.expand(len(chosen), -1), SCATTERED, SCATTERED_BLINK)
        pixels = box[..., :2] + uniform * (box[..., 2:] - box[..., :2])
        return pixels.floor().clamp_(0, self.camera.width - 1) + 0.5

    def _squares(
        self, chosen: Int[Tensor, " frames"], uniform: Float[Tensor, "frames each 2"]
    ) -> Float[Tensor, "frames square 2"]:
        """All pixels of one square a frame, row by row; the centres are in the boxes of the head's parts by SQUARES."""
        edge = patch_size(uniform.shape[1], self.camera.width)
        box = self._boxes(chosen, uniform[:, 1, :1], SQUARES, SQUARES_BLINK)[:, 0]
        corner = box[:, :2] + uniform[:, 0] * (box[:, 2:] - box[:, :2]) - edge / 2
        corner = corner.floor().clamp_(0, self.camera.width - edge)
        steps = torch.arange(edge, device=self.device) + 0.5
        return corner[:, None] + torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)

    def sample_rays(self, seed: int, step: int, rays: int, frames: int, phase: str, squares: bool = False) -> RayBatch:
        """Rays for one step, from a generator seeded by (seed, step): a run that resumes sees what a straight run saw.

        They lie scattered, or (head phase, `squares`) as one square of neighbouring pixels a frame.

        Where a pixel is surely person or surely not, noise stands behind and not the plate: matter in the colour of the plate
        would fit the footage as well as emptiness does, until the head turns or the background is changed.
        """
        generator = torch.Generator().manual_seed((seed << 32) + step)
        chosen = self.trusted[torch.randint(len(self.trusted), (frames,), generator=generator)]
        chosen[0] = torch.multinomial(self.shut, 1, generator=generator)[0]
        uniform = torch.rand((frames, rays // frames, 2), generator=generator).to(self.device)
        chosen = chosen.to(self.device)
        if phase == "torso":
            pixels = self.torso_pixels[(uniform[..., 0] * len(self.torso_pixels)).long()]
        else:
            pixels = (self._squares if squares else self._scattered)(chosen, uniform)
        each = pixels.shape[1]
        frame = torch.arange(frames, device=self.device).repeat_interleave(each)
        pixels = pixels.reshape(-1, 2)
        row, col = pixels.long().unbind(-1)
        picture = chosen[frame]
        zone = self.zones[picture, row, col]
        noise = torch.rand((len(pixels), 3), generator=generator).to(self.device)
        background = torch.where((zone == EDGE)[:, None], self.plate[row, col] / 255.0, noise)
        empty = (zone == BACKGROUND) | ((zone == TORSO) & (phase == "head"))
        return RayBatch(
            pixels=pixels,
            frame=frame,
            numbers=self.numbers[chosen],
            poses=self.poses[chosen],
            lips=self.lips[chosen],
            upper=self.upper[chosen],
            torso=self.torso[chosen],
            target=torch.where(
                empty[:, None], background, self.pictures[picture, row, col] / (255.0 * self.exposure[picture])
            ),
            background=background,
            coverage=self.masks[picture, row, col] / 255.0,
            zone=zone,
        )


def patch_size(rays: int, size: int) -> int:
    """Edge, px, of the largest square of at most `rays` pixels in a picture of `size` px."""
    return min(math.isqrt(rays), size)


def _head_box(mask: UInt8[ndarray, "size size 2"], unit: float) -> tuple[float, float, float, float]:
    rows, cols = np.nonzero(mask[..., 0] > 127)
    if len(rows) == 0:
        return 0, 0, mask.shape[0], mask.shape[1]
    margin = 0.2 * unit
    top, left, bottom, right = (int(edge) for edge in (rows.min(), cols.min(), rows.max(), cols.max()))
    return top - margin, left - margin, bottom + NECK_DEPTH * unit + margin, right + margin
