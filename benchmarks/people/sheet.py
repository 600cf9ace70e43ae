"""The contact sheet of a clip: what the evaluation compares on held-out frames, above frames of a foreign voice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from adnerf_core.files import ffmpeg
from adnerf_core.files.images import read_rgb
from adnerf_core.files.run_dir import RunDir

FOREIGN_FRAMES = 6
"""Frames of the foreign voice, in two rows."""

WIDTH = 1536
"""Width of the sheet, px."""


def contact_sheet(run: RunDir, foreign: Path) -> np.ndarray:
    """Returns the sheet of a run, [rows, WIDTH, 3] uint8 RGB.

    Args:
        run: an evaluated run; the upper part is its own contact sheet.
        foreign: a video of the run that is driven by a foreign voice.
    """
    frames = list(ffmpeg.read_frames(foreign))
    chosen = [frames[(2 * n + 1) * len(frames) // (2 * FOREIGN_FRAMES)] for n in range(FOREIGN_FRAMES)]
    half = FOREIGN_FRAMES // 2
    spoken = np.vstack([np.hstack(chosen[:half]), np.hstack(chosen[half:])])
    return np.vstack([_to_width(picture) for picture in (read_rgb(run.contact_sheet), spoken)])


def _to_width(picture: np.ndarray) -> np.ndarray:
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    method = cv2.INTER_AREA if picture.shape[1] > WIDTH else cv2.INTER_CUBIC
    return cv2.resize(picture, (WIDTH, height), interpolation=method)
