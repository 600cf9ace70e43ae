"""Which way up a face is, if it cannot be followed as the picture stands."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from adnerf_core.config import FPS
from adnerf_core.face.landmarks import EYE_CORNERS
from adnerf_core.face.tracking import FaceTracker, track
from adnerf_core.files import ffmpeg
from adnerf_core.preprocess.head_pose import estimate_head_poses

TRIED_S, TRIED_PX = 2.0, 384
"""Length of the footage that is tried, s, and the longer edge of its pictures, px."""

MIN_FOUND = 0.6
"""Share of the pictures in which a face must be found for a direction to count."""

BETTER = 0.6
"""Reprojection error over that of the picture as it stands, below which it is turned."""

MAX_ERROR_PX = 1.7
"""Largest reprojection error, px at 512 px, of a face that fits."""


def quarter_turns(
    footage: Path, crop: tuple[int, int, int, int], start_s: float, tracker: Callable[[], FaceTracker]
) -> int:
    """Returns by how many quarter turns clockwise the picture is turned, 0 to 3; 0 also if no direction is better.

    Args:
        footage: the footage as kept.
        crop: (x, y, width, height) in it, px.
        start_s: where to look, s.
        tracker: returns a new tracker.
    """
    scale = TRIED_PX / max(crop[2:])
    size = max(2, round(crop[2] * scale)), max(2, round(crop[3] * scale))
    frames = ffmpeg.read_frames(footage, crop=crop, size=size, start_s=start_s, duration_s=TRIED_S)
    with closing(frames):
        pictures = [_square(frame) for frame in frames]
    errors = [
        _misfit([np.ascontiguousarray(np.rot90(each, turns)) for each in pictures], tracker()) for turns in range(4)
    ]
    best = int(np.argmin(errors))
    return best if errors[best] < min(MAX_ERROR_PX, BETTER * errors[0]) else 0


def _square(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "size size 3"]:
    height, width, _ = frame.shape
    return cv2.copyMakeBorder(
        frame, 0, TRIED_PX - height, 0, TRIED_PX - width, cv2.BORDER_CONSTANT, value=(128, 128, 128)
    )


def _misfit(pictures: list[np.ndarray], tracker: FaceTracker) -> float:
    """The reprojection error of an upright face in square pictures, px at 512 px; infinite if it is not found in enough of them."""
    tracked = list(track(pictures, tracker))
    landmarks, flow = (np.array([each[i] for each in tracked]) for i in (1, 2))
    if np.isfinite(landmarks[:, 0, 0]).mean() < MIN_FOUND or len(pictures) < TRIED_S * FPS / 2:
        return np.inf
    x, y = np.nanmedian(landmarks[:, EYE_CORNERS[1], :2] - landmarks[:, EYE_CORNERS[0], :2], axis=0)
    if x < abs(y):  # the tracker also follows faces that lie
        return np.inf
    return estimate_head_poses(landmarks, flow, TRIED_PX).error_px
