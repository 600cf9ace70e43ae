"""Looks through the whole footage once, in a stream, before any work goes into it: its takes, the faces, and the camera's motion.

Gaps of single frames, and where the face is missing, are left to the tracking, which sees every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from adnerf_core.config import FPS, FaceChoice
from adnerf_core.errors import FaceTooSmall, NoFaceFound, SceneCut, SilentAudio, TooShort
from adnerf_core.preprocess.camera_motion import CameraMotionDetector
from adnerf_core.preprocess.dissolves import detail
from adnerf_core.preprocess.face_detector import Box, FaceDetector
from adnerf_core.preprocess.people import (
    Face,
    Look,
    choose_crop,
    chosen_face,
    find_faces,
    people,
    rivals,
    serving_together,
    small_picture,
)
from adnerf_core.preprocess.segmentation import PersonSegmenter
from adnerf_core.preprocess.takes import Span, are_equal, find_takes, halved, thumbnail

CHECK_EDGE = 960
"""Longer edge of the pictures that are checked, px, at most: a face of MIN_FACE_PX in a 1080p video still has 24 px."""

DETECT_EVERY = FPS // 2
"""Frames between face detections at first: two per second."""

MAX_DETECTIONS = 400
"""Number of detections at which every other one is dropped and the interval is doubled: the cost of detection, the slowest part of
the check, is bounded whatever the length."""

MIN_FACE_PX = 48
"""Smallest height of the face in the source, px (also named in the remedy of FaceTooSmall): below it, lips are two or three pixels."""

MIN_AMPLITUDE, AMPLITUDE_QUANTILE = 0.003, 0.999
"""Amplitude (of 1), as a quantile, below which nothing can be heard: -50 dB. A quantile, so that a single click does not count."""

CAMERA_EVERY = 5
"""Frames between the measurements of the camera's motion: at five per second the background moves little between two."""

TIMES_NAMED = 5
"""Cuts that a message names."""


@dataclass(frozen=True)
class FootageCheck:
    """What is seen in the footage, in px of the source.

    Attributes:
        frames: number of frames, at FPS.
        width, height: of the picture, px.
        takes: the stretches without a cut, a dissolve or a flash, that are long enough.
        cuts: the frames at which a shot begins, without the first one.
        faces: the faces in the takes.
        looks: number of looks, and of those that found a face.
        camera_shift: motion of the background, in widths of the picture.
    """

    frames: int
    width: int
    height: int
    takes: list[Span]
    cuts: list[int]
    faces: list[Face]
    looks: tuple[int, int]
    camera_shift: float


@dataclass(frozen=True)
class Person:
    """Who is learnt from, and where they are seen.

    Attributes:
        members: the person's face in each take that serves.
        others: large faces of others in these takes.
        crop: (x, y, width, height), square, px of the source.
    """

    members: list[Face]
    others: list[Face]
    crop: tuple[int, int, int, int]

    @property
    def face_px(self) -> float:
        """Median height of the face, px of the source."""
        return float(np.median([box[3] for face in self.members for box in face.boxes]))


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
    """Looks through footage in one pass.

    Args:
        frames: its frames at FPS, RGB, scaled to survey_size().
        width: width of the source, px.
        height: height of the source, px.
        on_frame: called with the number of frames that have been checked.
    """
    scale = width / survey_size(width, height)[0]
    looks, changes, thumbnails, details, equal = [], [], [], [], []
    before, last, every, count = None, None, DETECT_EVERY, 0
    with closing(FaceDetector()) as detect, closing(PersonSegmenter()) as find_person:
        camera = CameraMotionDetector(find_person)
        for count, frame in enumerate(frames, start=1):
            on_frame(count)
            half = halved(frame)
            small = thumbnail(half)
            details.append(detail(half))
            thumbnails.append(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY))
            if before is not None:
                changes.append(float(cv2.absdiff(small, before).mean()))
                equal.append(are_equal(frame, last))
            before, last = small, frame
            if (count - 1) % every == 0:
                looks.append(_look(count - 1, frame, detect(frame), scale))
                if len(looks) == MAX_DETECTIONS:
                    every *= 2
                    looks = looks[::2]
            if (count - 1) % CAMERA_EVERY == 0:
                latest = next((look.boxes for look in reversed(looks) if look.boxes), [])
                camera.add_frame(frame, [tuple(v / scale for v in box) for box in latest])
    gray = np.array(thumbnails).reshape(count, *small.shape[:2])
    takes, cuts = find_takes(np.array(changes), gray, np.array(details), np.array(equal, bool))
    found = len(looks), sum(bool(look.boxes) for look in looks)
    return FootageCheck(count, width, height, takes, cuts, find_faces(looks, takes), found, camera.shift)


def _look(frame_number: int, frame: np.ndarray, boxes: Sequence[Box], scale: float) -> Look:
    pictures = [small_picture(frame, box) for box in boxes]
    return Look(frame_number, [tuple(scale * v for v in box) for box in boxes], pictures)


def choose_person(
    check: FootageCheck,
    min_seconds: float,
    choice: FaceChoice | None,
    speaking: Callable[[list[Face]], Face],
) -> Person:
    """Chooses the person and the takes.

    Args:
        check: what was seen.
        min_seconds: least length of all takes together, s.
        choice: the face that the client chose, if any.
        speaking: chooses the one who speaks among faces of the same take; it is called only if there are several.

    Raises:
        NoFaceFound, SceneCut, TooShort, FaceTooSmall: if nobody can become a subject.
    """
    if not check.faces:
        raise NoFaceFound(f"A face was found in {check.looks[1]} of the {check.looks[0]} pictures that were checked.")
    size = check.width, check.height
    if choice is not None:
        members = serving_together(chosen_face(check.faces, choice, *size), _by_weight(check.faces), *size)
    else:
        members = people(check.faces, *size)[0]
        if others := rivals(members, check.faces):
            # Everybody who is seen in the take in which most are seen.
            take = max((face.take for face in others), key=lambda take: sum(face.take == take for face in others))
            candidates = [face for face in (*members, *others) if face.take == take]
            speaker = speaking(candidates)
            if not any(speaker is face for face in members):
                members = serving_together(speaker, _by_weight(check.faces), *size)
    _require_length(check, members, min_seconds)
    boxes = np.array([box for face in members for box in face.boxes])
    person = Person(members, rivals(members, check.faces), choose_crop(boxes, *size))
    if round(person.face_px) < MIN_FACE_PX:
        raise FaceTooSmall(f"The face is about {person.face_px:.0f} pixels high.")
    return person


def _by_weight(faces: Sequence[Face]) -> list[Face]:
    return sorted(faces, key=lambda face: -face.weight)


def _require_length(check: FootageCheck, members: Sequence[Face], min_seconds: float) -> None:
    seconds = sum(face.take.seconds for face in members)
    if seconds >= min_seconds:
        return
    if check.cuts:
        times = ", ".join(f"{cut / FPS:.2f} s" for cut in check.cuts[:TIMES_NAMED])
        raise SceneCut(
            f"Only {seconds:.1f} s of the footage show the same person in the same framing. The picture changes at {times}."
        )
    raise TooShort(f"A face is seen in only {seconds:.1f} s of the footage without interruption.")
