"""Checks the whole footage once, in a stream, before any work goes into it.

check_footage() finds the person and the square crop, and refuses footage that cannot become a subject. Gaps of single
frames, and how long the face is missing, are left to the tracking, which sees every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from adnerf_core.config import FPS
from adnerf_core.errors import FaceTooSmall, MovingCamera, NoFaceFound, SceneCut, SeveralFaces, SilentAudio
from adnerf_core.preprocess.camera_motion import CameraMotionDetector
from adnerf_core.preprocess.face_detector import Box, FaceDetector

CHECK_EDGE = 960
"""Longer edge of the pictures that are checked, px, at most: a face of MIN_FACE_PX in a 4K video still has 20 px."""

DETECT_EVERY = FPS // 2
"""Frames between face detections at first: two per second."""

MAX_DETECTIONS = 400
"""Number of detections at which every other one is dropped and the interval is doubled: the cost of detection, the slowest part of
the check, is bounded whatever the length."""

MIN_FACE_PX = 80
"""Smallest height of the face in the source, px (also named in the remedy of FaceTooSmall): below it, lips are a few pixels."""

MIN_FACE_SHARE = 0.2
"""Share of the detections that must find the face. It is low because the detector misses turned faces; the tracking decides."""

SECOND_FACE_HEIGHT = 0.4
"""Height of another face, over the person's, from which it counts as a second person: smaller ones are passers-by or pictures."""

SECOND_FACE_SHARE = 0.05
"""Share of the detections with a second face from which the footage is refused; less are false detections."""

CROP_FACES = 2.3
"""Edge of the crop in heights of the face: head and shoulders."""

WHOLE_FACES = 3.0
"""If the shorter edge of the picture has no more heights of the face than this, it is a portrait already and is kept whole."""

CROP_DROP = 0.05
"""How much lower than the face the crop is centred, in heights of the face. The detector's box goes from brows to chin, and the
shoulders need more room below it than the hair above."""

CROP_QUANTILE = 0.02
"""Share of the detections, at either end, that may lie outside the range of motion that the crop allows for: false ones."""

MIN_AMPLITUDE, AMPLITUDE_QUANTILE = 0.003, 0.999
"""Amplitude (of 1), as a quantile, below which nothing can be heard: -50 dB. A quantile, so that a single click does not count."""

CUT_LEVELS, CUT_RATIO = 12.0, 6.0
"""Mean change of a thumbnail from one frame to the next that is a cut: in grey levels, and in multiples of the median change around
it. Lively people reach 6 and 5; a cut to another framing of the same scene reaches 20 and more of both."""

FLASH_FRAMES = 5
"""Two jumps so close together, frames, are a flash or a hand in front of the lens, after which the same shot continues."""

MAX_CAMERA_SHIFT = 0.02
"""Motion of the background, in widths of the picture, that is refused: a plate that is off by 10 px at 512 px shows at once."""

CAMERA_EVERY = 5
"""Frames between the measurements of the camera's motion: at five per second the background moves little between two."""

THUMBNAIL = (64, 48)
"""Size of the thumbnails that are compared for cuts, px: too small for the motion of lips to matter."""


@dataclass(frozen=True)
class FootageCheck:
    """The result of check_footage().

    Attributes:
        frames: number of frames, at FPS.
        face_px: height of the face, px of the source.
        crop: (x, y, width, height), square, px of the source.
        camera_shift: motion of the background, in widths of the picture.
    """

    frames: int
    face_px: float
    crop: tuple[int, int, int, int]
    camera_shift: float


def require_sound(samples: Float[np.ndarray, " samples"]) -> None:
    """Raises SilentAudio if nothing can be heard in samples of -1..1."""
    amplitude = float(np.quantile(np.abs(samples), AMPLITUDE_QUANTILE)) if len(samples) else 0.0
    if amplitude < MIN_AMPLITUDE:
        raise SilentAudio(f"The sound is silent (peaks at {20 * np.log10(max(amplitude, 1e-5)):.0f} dB).")


def survey_size(width: int, height: int) -> tuple[int, int]:
    """Returns the size of the pictures to check: the source's, scaled down to CHECK_EDGE."""
    scale = min(1.0, CHECK_EDGE / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def check_footage(
    frames: Iterable[np.ndarray], width: int, height: int, on_frame: Callable[[int], None]
) -> FootageCheck:
    """Checks footage in one pass.

    Args:
        frames: its frames at FPS, RGB, scaled to survey_size().
        width: width of the source, px.
        height: height of the source, px.
        on_frame: called with the number of frames that have been checked.

    Raises:
        NoFaceFound, SceneCut, MovingCamera, SeveralFaces, FaceTooSmall: if it cannot become a subject.
    """
    scale = width / survey_size(width, height)[0]
    camera, changes, detections = CameraMotionDetector(), [], []
    thumbnail, every, count = None, DETECT_EVERY, 0
    with closing(FaceDetector()) as detect:
        for count, frame in enumerate(frames, start=1):
            on_frame(count)
            previous, thumbnail = thumbnail, cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.int16)
            if previous is not None:
                changes.append(float(np.abs(thumbnail - previous).mean()))
            if (count - 1) % every == 0:
                detections.append(detect(frame))
                if len(detections) == MAX_DETECTIONS:
                    every *= 2
                    detections = detections[::2]
            if (count - 1) % CAMERA_EVERY == 0:
                camera.add_frame(frame, next((boxes[0] for boxes in reversed(detections) if boxes), None))
    faces = _require_one_take(detections, np.array(changes), camera.shift)
    face_px = float(np.median(faces[:, 3]) * scale)
    if face_px < MIN_FACE_PX:
        raise FaceTooSmall(f"The face is about {face_px:.0f} pixels high.")
    return FootageCheck(count, face_px, choose_crop(faces * scale, width, height), camera.shift)


def _require_one_take(
    detections: list[list[Box]], changes: Float[np.ndarray, " changes"], camera_shift: float
) -> Float[np.ndarray, "faces 4"]:
    """Returns the boxes of the person's face; raises an error unless it is one person in one take with a still camera."""
    faces = np.array([boxes[0] for boxes in detections if boxes])
    if len(faces) < max(2, MIN_FACE_SHARE * len(detections)):
        raise NoFaceFound(f"A face was found in {len(faces)} of the {len(detections)} pictures that were checked.")
    if cuts := find_cuts(changes):
        raise SceneCut(f"The picture jumps at {', '.join(f'{cut / FPS:.2f} s' for cut in cuts[:5])}.")
    if camera_shift > MAX_CAMERA_SHIFT:
        raise MovingCamera(f"The background moves by {100 * camera_shift:.0f} % of the picture's width.")
    others = sum(any(box[3] > SECOND_FACE_HEIGHT * boxes[0][3] for box in boxes[1:]) for boxes in detections)
    if others >= max(2, SECOND_FACE_SHARE * len(detections)):
        raise SeveralFaces(
            f"There is more than one face in {others} of the {len(detections)} pictures that were checked."
        )
    return faces


def find_cuts(changes: Float[np.ndarray, " changes"]) -> list[int]:
    """Returns the frames at which another shot begins.

    A jump with another jump close by is no cut, but a flash or a hand in front of the lens.

    Args:
        changes: the mean change from frame k to frame k + 1, grey levels.
    """
    jumps = []
    for k in np.flatnonzero(changes > CUT_LEVELS):
        around = np.concatenate([changes[max(0, k - FPS) : k], changes[k + 1 : k + 1 + FPS]])
        if changes[k] > CUT_RATIO * np.median(around):
            jumps.append(int(k) + 1)
    return [cut for cut in jumps if not any(0 < abs(cut - other) <= FLASH_FRAMES for other in jumps)]


def crop_in_footage(crop: tuple[int, int, int, int], scale: float, width: int, height: int) -> tuple[int, int, int]:
    """Returns the square (x, y, side) of the footage that is kept, of `width` x `height` px, which is nearest to `crop`.

    Args:
        crop: square (x, y, edge, edge) that choose_crop() chose, px of the source.
        scale: width of the footage over that of the source.
        width: of the footage, px.
        height: of the footage, px.
    """
    side = min(round(crop[2] * scale), width, height) // 2 * 2
    return min(round(crop[0] * scale), width - side), min(round(crop[1] * scale), height - side), side


def choose_crop(faces: Float[np.ndarray, "faces 4"], width: int, height: int) -> tuple[int, int, int, int]:
    """Returns the square (x, y, edge, edge) that shows head and shoulders and keeps the moving face inside.

    If the picture is a portrait already, its whole shorter edge is kept.

    Args:
        faces: boxes (x, y, width, height) of the face, px of the picture.
        width: width of the picture, px.
        height: its height, px.
    """
    low = np.quantile(faces[:, :2], CROP_QUANTILE, axis=0)
    high = np.quantile(faces[:, :2] + faces[:, 2:], 1 - CROP_QUANTILE, axis=0)
    face = float(np.median(faces[:, 3]))
    travel = float(max(high - low) - face)
    shorter = min(width, height)
    edge = int(min(shorter, CROP_FACES * face + max(0.0, travel)))
    if shorter <= WHOLE_FACES * face:
        edge = shorter
    edge -= edge % 2
    x, y = (low + high) / 2 - edge / 2
    y += CROP_DROP * face
    return int(np.clip(x, 0, width - edge)), int(np.clip(y, 0, height - edge)), edge, edge
