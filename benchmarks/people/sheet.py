"""The contact sheet of a clip: footage, full frame and portrait at held-out frames, above frames of a foreign voice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.evaluation.full_frames import held_out_subject
from adnerf_core.evaluation.heldout_renderer import HeldOutRenderer, lip_codes
from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.run_dir import RunDir
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training.held_out_alignment import align_held_out

HELD_OUT_FRAMES, FOREIGN_FRAMES = 4, 6
"""Frames of the held-out part, a row each, and of the foreign voice, in two rows."""

WIDTH = 1536
"""Width of the sheet, px."""


def contact_sheet(run: RunDir, foreign: Path) -> np.ndarray:
    """Returns the sheet of a finished run, [rows, WIDTH, 3] uint8 RGB.

    Each of the upper rows has the footage, the full frame and the portrait, both with the lips that the sound tells.

    Args:
        run: the run; its dataset must still exist.
        foreign: a video of the run that is driven by a foreign voice.
    """
    frames = list(ffmpeg.read_frames(foreign))
    chosen = [frames[(2 * n + 1) * len(frames) // (2 * FOREIGN_FRAMES)] for n in range(FOREIGN_FRAMES)]
    half = FOREIGN_FRAMES // 2
    spoken = [np.hstack(chosen[:half]), np.hstack(chosen[half:])]
    return np.vstack([_to_width(row) for row in (*held_out_rows(run), *spoken)])


def held_out_rows(run: RunDir) -> Iterator[np.ndarray]:
    """Yields a row of pictures for each of some held-out frames: footage, full frame (if there is one), portrait."""
    subject, dataset = load_subject(run, "cpu"), SubjectDataset(run.dataset)
    track = dataset.track()
    held_out = np.flatnonzero(track.valid[dataset.held_out_from :]) + dataset.held_out_from
    frames = held_out[np.unique(np.linspace(0, len(held_out) - 1, HELD_OUT_FRAMES).astype(int))]
    codes = lip_codes(subject, dataset, track, frames).predicted
    if subject.model.refines_poses:
        track = align_held_out(subject.model, dataset, track, frames, codes)
    portrait = HeldOutRenderer(subject, dataset, track)
    for number, wholes in enumerate(_whole_frames(portrait, frames, codes)):
        frame = int(frames[number])
        wholes = wholes or [dataset.picture(frame, dataset.size)]
        square = cv2.resize(portrait(frame, codes[number]), (wholes[0].shape[0],) * 2, interpolation=cv2.INTER_CUBIC)
        yield np.hstack([*wholes, square])


@torch.no_grad()
def _whole_frames(portrait: HeldOutRenderer, frames: np.ndarray, codes: Tensor) -> Iterator[list[np.ndarray]]:
    """Yields each frame of the footage as it is and with the lips of its code; nothing if the subject has no footage."""
    play = portrait.subject.playback
    if play is None:
        yield from ([] for _ in frames)
        return
    renderer = FullFrameRenderer(held_out_subject(portrait))
    reader = FootageReader(play.path, play.width, play.height, portrait.dataset.frames)
    whole = slice(0, play.height), slice(0, play.width)
    for number, (frame, picture) in enumerate(reader.read(frames.tolist(), planar=True)):
        footage = yuv.to_rgb(picture, whole)
        full = yuv.to_rgb(renderer.render_into(picture, frame, codes[number]), whole)
        yield [np.clip(np.rint(image), 0, 255).astype(np.uint8) for image in (footage, full)]


def _to_width(picture: np.ndarray) -> np.ndarray:
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    method = cv2.INTER_AREA if picture.shape[1] > WIDTH else cv2.INTER_CUBIC
    return cv2.resize(picture, (WIDTH, height), interpolation=method)
