"""TrainingFrames: the frames of the training part in memory, with the poses and the conditions of each."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from adnerf_core.config import TORSO_REGION_CELLS
from adnerf_core.data.dataset import SubjectDataset, face_boxes, interocular_px
from adnerf_core.data.region_labels import NECK_DEPTH, region_labels

HEAD_BOX_MARGIN = 0.2
"""Margin of the head's box around the head's mask, head units: the box also holds some background, so that the outline is learned."""
TORSO_COVERAGE = 64
"""Coverage (0..255) from which a pixel counts as torso when the torso's region is measured: a quarter, for soft edges are part of it."""
TORSO_REGION_MARGIN = 1 / 32
"""Margin of the torso's region, widths of the picture: the torso also moves in poses that the footage does not show."""

HEAD_BOX, MOUTH_BOX, EYES_BOX = range(3)
"""Indices into `TrainingFrames.boxes`."""


class TrainingFrames:
    """The valid frames of a dataset's training part, scaled to the size of the run.

    Images, masks and labels are uint8: a minute at 512 px takes 1.6 GB. Tensors are on the device of the run, unless said otherwise.

    Attributes:
        camera: the camera of the scaled frames.
        frame_numbers: [frames], numbers of the frames in the footage, ascending.
        images: [frames, size, size, 3], RGB.
        masks: [frames, size, size, 2], coverage by head and torso, 0..255.
        labels: [frames, size, size], see `region_labels`.
        background: [size, size, 3], the clean plate, RGB, uint8.
        boxes: [frames, 3, 4], boxes (top, left, bottom, right) of head, mouth, and eyes with brows, px.
        poses: [frames, 4, 4], camera-to-world.
        lip_codes: [frames, code], measured in the footage.
        upper_face: [frames, 2], eye openness and brow height (Track.upper_face).
        eye_openness: [frames], the same openness, on the CPU, where frames are drawn.
        torso_motion: [frames, 4], see Track.torso.
        exposure: [frames, 3], brightness of each channel relative to the other frames.
        inliers: indices of the frames that may be learned from, on the CPU.
        torso_region: [cells, cells], the part of the picture in which the torso is seen in any frame.
    """

    def __init__(self, dataset: SubjectDataset, size: int, lip_codes: Float[ndarray, "frames code"], device: str):
        """Reads the frames.

        Args:
            dataset: the dataset.
            size: edge of the scaled frames, px.
            lip_codes: codes of all frames of the footage (NaN if not valid).
            device: where the tensors are stored.
        """
        track = dataset.track()
        numbers = np.flatnonzero(track.valid[: dataset.held_out_from])
        self.device = device
        self.camera = dataset.camera.resized(size)
        self.frame_numbers = torch.from_numpy(numbers).to(device)
        self.background = torch.from_numpy(dataset.background(size)).to(device)
        self.poses = torch.from_numpy(track.pose[numbers]).float().to(device)
        self.lip_codes = torch.from_numpy(lip_codes[numbers]).float().to(device)
        self.upper_face = torch.from_numpy(track.upper_face()[numbers]).to(device)
        self.eye_openness = self.upper_face[:, 0].cpu()
        self.torso_motion = torch.from_numpy(track.torso[numbers]).float().to(device)
        self.exposure = torch.ones((len(numbers), 3), device=device)
        self.inliers = torch.arange(len(numbers))
        self.images = torch.empty((len(numbers), size, size, 3), dtype=torch.uint8, device=device)
        self.masks = torch.empty((len(numbers), size, size, 2), dtype=torch.uint8, device=device)
        self.labels = torch.empty((len(numbers), size, size), dtype=torch.uint8, device=device)
        unit = interocular_px(self.camera, track)
        boxes = np.empty((len(numbers), 3, 4), np.float32)
        for i, number in enumerate(numbers.tolist()):
            mask = dataset.mask(number, size)
            self.images[i] = torch.from_numpy(dataset.picture(number, size)).to(device)
            self.masks[i] = torch.from_numpy(mask).to(device)
            self.labels[i] = torch.from_numpy(region_labels(mask, unit)).to(device)
            boxes[i] = [_head_box(mask, unit), *face_boxes(dataset, track, number, size)]
        self.boxes = torch.from_numpy(boxes.clip(0, size)).to(device)
        self.torso_region = _torso_region(self.masks)

    def set_refinement(
        self,
        poses: Float[Tensor, "frames 4 4"],
        exposure: Float[Tensor, "frames 3"],
        inliers: Int[Tensor, " inliers"],
    ) -> None:
        """Replaces the poses and the exposures, and limits training to `inliers` (indices of frames)."""
        self.poses, self.exposure, self.inliers = poses, exposure, inliers.cpu()


def _head_box(mask: UInt8[ndarray, "size size 2"], unit: float) -> tuple[float, float, float, float]:
    """Returns the box of the head and of the neck below it; the whole picture if the mask shows no head."""
    rows, cols = np.nonzero(mask[..., 0] > 127)
    if len(rows) == 0:
        return 0, 0, mask.shape[0], mask.shape[1]
    margin = HEAD_BOX_MARGIN * unit
    top, left, bottom, right = (int(edge) for edge in (rows.min(), cols.min(), rows.max(), cols.max()))
    return top - margin, left - margin, bottom + NECK_DEPTH * unit + margin, right + margin


def _torso_region(masks: UInt8[Tensor, "frames size size 2"]) -> Bool[Tensor, "cells cells"]:
    """Returns the cells in which the torso is seen in any frame, with a margin."""
    margin = int(masks.shape[1] * TORSO_REGION_MARGIN)
    torso = (masks[..., 1] > TORSO_COVERAGE).any(0).float()[None, None]
    near = F.max_pool2d(torso, 2 * margin + 1, 1, margin)
    return F.adaptive_max_pool2d(near, TORSO_REGION_CELLS)[0, 0] > 0
