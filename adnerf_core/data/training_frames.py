"""TrainingFrames: the frames of the training part in memory, with the poses and the conditions of each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from adnerf_core.cameras.cameras import Camera, project
from adnerf_core.config import TORSO_REGION_CELLS
from adnerf_core.data.dataset import SubjectDataset, Track, face_boxes, interocular_px
from adnerf_core.data.region_labels import NECK_DEPTH, region_labels
from adnerf_core.face.lip_region import lower_face
from adnerf_core.files.images import resize
from adnerf_core.rendering.dilation import dilate
from adnerf_core.threads import usable_cores

HEAD_BOX_MARGIN = 0.2
"""Margin of the head's box around the head's mask, head units: the box also holds some background, so that the outline is learned."""
TORSO_COVERAGE = 64
"""Coverage (0..255) from which a pixel counts as torso when the torso's region is measured: a quarter, for soft edges are part of it."""
TORSO_REGION_MARGIN = 1 / 32
"""Margin of the torso's region, widths of the picture: the torso also moves in poses that the footage does not show."""

MAX_FRAMES = 1500
"""Frames that are learnt from at most, evenly chosen: those of a minute. They are all in memory, which would grow with the footage. The
preset `standard` draws 16,000 frames in its head phase, so each is seen ten times. Corrections of the track are interpolated for the
frames between."""

HEAD_BOX, MOUTH_BOX, EYES_BOX, LIP_REGION_BOX = range(4)
"""Indices into `TrainingFrames.boxes`."""


class TrainingFrames:
    """The valid frames of a dataset's training part (MAX_FRAMES at most), scaled to the size of the run.

    The region that the lips can move is also kept in the size of the dataset's own frames (close-ups): there a video shows the rendering
    beside the footage. Images, masks and labels are uint8: a minute takes 0.4 GB at 256 px, and 0.2 GB for the close-ups from 512 px.
    Tensors are on the device of the run, unless said otherwise.

    Attributes:
        camera: the camera of the scaled frames.
        frame_numbers: [frames], numbers of the frames in the footage, ascending.
        images: [frames, size, size, 3], RGB.
        close_ups: [frames, rows, cols, 3], RGB, windows of the frames as stored, around the lower face.
        close_up_corners: [frames, 2], (row, col) of the first pixel of each window, px of the stored frame.
        close_up_scale: pixels of a stored frame for a pixel of `images`, 1 or more.
        masks: [frames, size, size, 2], coverage by head and torso, 0..255.
        labels: [frames, size, size], see `region_labels`.
        background: [size, size, 3], the clean plate, RGB, uint8.
        boxes: [frames, 4, 4], boxes (top, left, bottom, right) of head, mouth, eyes with brows, and the lower face, px.
        poses: [frames, 4, 4], camera-to-world.
        lip_codes: [frames, code], measured in the footage.
        upper_face: [frames, 5], eyes, brows and gaze (Track.upper_face).
        eye_openness: [frames], the mean openness of both eyes, on the CPU, where frames are drawn.
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
        numbers = choose_frames(track.valid[: dataset.held_out_from])
        self.device = device
        self.camera = dataset.camera.resized(size)
        self.frame_numbers = torch.from_numpy(numbers).to(device)
        self.background = torch.from_numpy(dataset.background(size)).to(device)
        self.poses = torch.from_numpy(track.pose[numbers]).float().to(device)
        self.lip_codes = torch.from_numpy(lip_codes[numbers]).float().to(device)
        self.upper_face = torch.from_numpy(track.upper_face()[numbers]).to(device)
        self.eye_openness = self.upper_face[:, :2].mean(-1).cpu()
        self.torso_motion = torch.from_numpy(track.torso[numbers]).float().to(device)
        self.exposure = torch.ones((len(numbers), 3), device=device)
        self.inliers = torch.arange(len(numbers))
        self.images = torch.empty((len(numbers), size, size, 3), dtype=torch.uint8, device=device)
        self.masks = torch.empty((len(numbers), size, size, 2), dtype=torch.uint8, device=device)
        self.labels = torch.empty((len(numbers), size, size), dtype=torch.uint8, device=device)
        unit = interocular_px(self.camera, track)
        stored_size = max(size, dataset.size)
        regions = _region_boxes(dataset.camera.resized(stored_size), track, numbers)
        rows, cols = (regions[:, 2:] - regions[:, :2]).max(0)
        corners = np.minimum(regions[:, :2], (stored_size - rows, stored_size - cols))
        self.close_up_scale = stored_size / size
        self.close_up_corners = torch.from_numpy(corners).to(device)
        self.close_ups = torch.empty((len(numbers), rows, cols, 3), dtype=torch.uint8, device=device)
        boxes = np.empty((len(numbers), 4, 4), np.float32)

        def read(i: int) -> None:
            number, (top, left) = int(numbers[i]), corners[i]
            mask, picture = dataset.mask(number, size), dataset.picture(number, stored_size)
            self.images[i] = torch.from_numpy(resize(picture, size)).to(device)
            self.close_ups[i] = torch.from_numpy(picture[top : top + rows, left : left + cols]).to(device)
            self.masks[i] = torch.from_numpy(mask).to(device)
            self.labels[i] = torch.from_numpy(region_labels(mask, unit)).to(device)
            region = regions[i] / self.close_up_scale
            boxes[i] = [_head_box(mask, unit), *face_boxes(dataset, track, number, size), region]

        with ThreadPoolExecutor(usable_cores(), "frames") as pool:  # OpenCV decodes without Python's lock
            for _ in pool.map(read, range(len(numbers))):  # raises what a thread has raised
                pass
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


def _region_boxes(camera: Camera, track: Track, frames: Int[ndarray, " n"]) -> Int[ndarray, "n 4"]:
    """Returns the boxes (top, left, bottom, right) of the lower face in `frames`, px of `camera`, inside the picture."""
    outline = torch.from_numpy(lower_face(track.canonical_landmarks[frames]))
    corners = [project(camera, torch.from_numpy(track.pose[frame]).float(), outline).numpy() for frame in frames]
    low = np.floor(np.min(corners, axis=1)).astype(int).clip(0, camera.width - 1)
    high = np.ceil(np.max(corners, axis=1)).astype(int).clip(1, camera.width)
    return np.concatenate([low, np.maximum(high, low + 1)], -1)


def choose_frames(valid: Bool[ndarray, " frames"]) -> Int[ndarray, " chosen"]:
    """Returns the numbers of MAX_FRAMES of the valid frames, evenly chosen; all of them if there are no more."""
    numbers = np.flatnonzero(valid)
    count = min(MAX_FRAMES, len(numbers))
    return numbers[np.linspace(0, len(numbers) - 1, count).round().astype(int)]


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
    near = dilate((masks[..., 1] > TORSO_COVERAGE).any(0), margin)
    return F.adaptive_max_pool2d(near.float()[None], TORSO_REGION_CELLS)[0] > 0
