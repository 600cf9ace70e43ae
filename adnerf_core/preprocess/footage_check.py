"""FootageCheck: one streamed look at the whole footage before any work goes into it.

Finds the person and the square crop, and refuses what no subject can be made of. What it cannot see well (how long the
face is away, frame by frame) is left to the tracking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS
from adnerf_core.errors import (
    FaceTooSmall,
    MissingBackend,
    MovingCamera,
    NoFaceFound,
    SceneCut,
    SeveralFaces,
    SilentAudio,
)
from adnerf_core.face.suppress_stderr import suppress_stderr

EDGE = 960
"""Longer edge of the pictures surveyed, px, at most."""
DETECT_EVERY = FPS // 2
MAX_LOOKS = 400
CONFIDENCE = 0.7
"""Score from which a face is one: blobs and textures reach 0.65, faces lie above 0.75."""
MIN_FACE_PX = 80
MIN_FACE_SHARE = 0.2
"""Of the pictures looked at, how many must show the face."""
SECOND_FACE = 0.4
"""Height of another face over the person's from which it counts."""
CROP_FACES = 2.3
"""Edge of the crop in heights of the face: head and shoulders."""
WHOLE_FACES = 3.0
"""A picture whose shorter edge has no more heights of the face than this is a portrait already and is kept whole."""
SILENCE = 0.003
"""Amplitude (99.9th percentile) below which nothing can be heard."""
CUT_LEVELS, CUT_RATIO = 12.0, 6.0
"""Mean change of a thumbnail between frames that is a cut: grey levels, and times the change usual around it. Lively
people reach 6 and 5; a cut to another framing of the same scene 20 and more."""
FLASH_FRAMES = 5
CAMERA_LIMIT = 0.02
"""Movement of the background, in widths of the picture, that is refused."""
CAMERA_EVERY = 5
THUMBNAIL = (64, 48)

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class FootageCheck:
    """What was seen.

    frames: how many, at FPS; face_px: height of the face; crop: (x, y, width, height), square, both in px of the source's
    pictures; camera_shift: movement of the background in widths of the picture.
    """

    frames: int
    face_px: float
    crop: tuple[int, int, int, int]
    camera_shift: float


class FaceDetector:
    """MediaPipe's full-range detector, whose model comes with the wheel."""

    def __init__(self):
        try:
            from mediapipe.python.solutions.face_detection import FaceDetection
        except ImportError as error:
            raise MissingBackend("Finding faces needs: pip install --no-deps mediapipe==0.10.21") from error
        with suppress_stderr():
            self._solution = FaceDetection(model_selection=1)
            self._solution.process(np.zeros((64, 64, 3), np.uint8))

    def __call__(self, frame: UInt8[np.ndarray, "height width 3"]) -> list[Box]:
        """Boxes of the faces in px, highest first.

        Looks at the whole picture, then at ever smaller overlapping tiles, until the largest face is large enough in them
        for any other that matters to have been seen too.
        """
        height, width, _ = frame.shape
        boxes: list[Box] = []
        for parts in (1, 2, 4):
            edge = max(height, width) if parts == 1 else int(1.25 * max(height, width) / parts)
            xs, ys = ({int(v) for v in np.linspace(0, max(0, length - edge), parts)} for length in (width, height))
            for x in sorted(xs):
                for y in sorted(ys):
                    tile = frame[y : y + edge, x : x + edge]
                    boxes += [(x + bx, y + by, bw, bh) for bx, by, bw, bh in self._detect(tile)]
            boxes.sort(key=lambda box: -box[3])
            if boxes and boxes[0][3] > 0.25 * edge:
                break
        kept: list[Box] = []
        for box in boxes:
            if all(_overlap(box, other) < 0.2 for other in kept):
                kept.append(box)
        return kept

    def _detect(self, tile: np.ndarray) -> list[Box]:
        height, width, _ = tile.shape
        found = self._solution.process(np.ascontiguousarray(tile)).detections or []
        sure = [detection for detection in found if detection.score[0] >= CONFIDENCE]
        boxes = [detection.location_data.relative_bounding_box for detection in sure]
        return [(b.xmin * width, b.ymin * height, b.width * width, b.height * height) for b in boxes]

    def close(self) -> None:
        self._solution.close()


def _overlap(a: Box, b: Box) -> float:
    """Area that two boxes share over the smaller one's area: a part of a face seen in a tile is the same face."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0) / min(a[2] * a[3], b[2] * b[3])


def require_sound(samples: Float[np.ndarray, " samples"]) -> None:
    """Raises SilentAudio where nothing can be heard in samples of -1..1."""
    loud = float(np.quantile(np.abs(samples), 0.999)) if len(samples) else 0.0
    if loud < SILENCE:
        raise SilentAudio(f"The sound is silent (peaks at {20 * np.log10(max(loud, 1e-5)):.0f} dB).")


def survey_size(width: int, height: int) -> tuple[int, int]:
    """Size of the pictures to survey: the source's, scaled down to EDGE."""
    scale = min(1.0, EDGE / max(width, height))
    return max(2, round(width * scale)), max(2, round(height * scale))


def check_footage(frames: Iterable[np.ndarray], width: int, height: int, seen: Callable[[int], None]) -> FootageCheck:
    """Looks through `frames` (at FPS, scaled to survey_size) of footage that is `width` x `height`.

    `seen` is told how many frames have been looked at. Raises NoFaceFound, SceneCut, MovingCamera, SeveralFaces,
    FaceTooSmall.
    """
    scale = width / survey_size(width, height)[0]
    camera, changes, looks = CameraMotionDetector(), [], []
    thumbnail, every, count = None, DETECT_EVERY, 0
    with closing(FaceDetector()) as detect:
        for count, frame in enumerate(frames, start=1):
            seen(count)
            before, thumbnail = thumbnail, cv2.resize(frame, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.int16)
            if before is not None:
                changes.append(float(np.abs(thumbnail - before).mean()))
            if (count - 1) % every == 0:
                looks.append(detect(frame))
                if len(looks) == MAX_LOOKS:
                    every *= 2
                    looks = looks[::2]
            if (count - 1) % CAMERA_EVERY == 0:
                camera.look(frame, next((boxes[0] for boxes in reversed(looks) if boxes), None))
    faces = np.array([boxes[0] for boxes in looks if boxes])
    if len(faces) < max(2, MIN_FACE_SHARE * len(looks)):
        raise NoFaceFound(f"A face was found in {len(faces)} of the {len(looks)} pictures looked at.")
    if cuts := find_cuts(np.array(changes)):
        raise SceneCut(f"The picture jumps at {', '.join(f'{cut / FPS:.2f} s' for cut in cuts[:5])}.")
    if camera.shift > CAMERA_LIMIT:
        raise MovingCamera(f"The background moves by {100 * camera.shift:.0f} % of the picture's width.")
    others = sum(any(box[3] > SECOND_FACE * boxes[0][3] for box in boxes[1:]) for boxes in looks)
    if others >= max(2, 0.05 * len(looks)):
        raise SeveralFaces(f"There is more than one face in {others} of the {len(looks)} pictures looked at.")
    face_px = float(np.median(faces[:, 3]) * scale)
    if face_px < MIN_FACE_PX:
        raise FaceTooSmall(f"The face is about {face_px:.0f} pixels high.")
    return FootageCheck(count, face_px, choose_crop(faces * scale, width, height), camera.shift)


def find_cuts(changes: Float[np.ndarray, " changes"]) -> list[int]:
    """Frames before which the picture jumps: `changes` [k] is the mean change from frame k to k + 1, in grey levels.

    A jump with another one close by is a flash or a hand before the lens, after which the take goes on.
    """
    jumps = []
    for k in np.flatnonzero(changes > CUT_LEVELS):
        around = np.concatenate([changes[max(0, k - FPS) : k], changes[k + 1 : k + 1 + FPS]])
        if changes[k] > CUT_RATIO * np.median(around):
            jumps.append(int(k) + 1)
    return [cut for cut in jumps if not any(0 < abs(cut - other) <= FLASH_FRAMES for other in jumps)]


def choose_crop(faces: Float[np.ndarray, "looks 4"], width: int, height: int) -> tuple[int, int, int, int]:
    """The square (x, y, edge, edge) that shows head and shoulders, given boxes of the face in px of the picture.

    The whole shorter edge where the picture is a portrait already; the face always stays inside with its hair.
    """
    low, high = np.quantile(faces[:, :2], 0.02, axis=0), np.quantile(faces[:, :2] + faces[:, 2:], 0.98, axis=0)
    face = float(np.median(faces[:, 3]))
    travel = float(max(high - low) - face)
    shorter = min(width, height)
    edge = int(min(shorter, CROP_FACES * face + max(0.0, travel)))
    if shorter <= WHOLE_FACES * face:
        edge = shorter
    edge -= edge % 2
    x, y = (low + high) / 2 - edge / 2
    y += 0.05 * face  # the box spans brows to chin: shoulders need more room below it than hair above
    return int(np.clip(x, 0, width - edge)), int(np.clip(y, 0, height - edge)), edge, edge


class CameraMotionDetector:
    """Follows the background; `shift` is how far it got from where it started, in widths of the picture.

    Each picture is compared with a key picture that is replaced only after the background has moved, so that a still
    camera adds up no errors.
    """

    def __init__(self):
        self.shift = 0.0
        self._key: np.ndarray | None = None
        self._place = np.eye(3)

    def look(self, frame: UInt8[np.ndarray, "height width 3"], face: Box | None) -> None:
        """Adds the next picture. `face`: where the person's face is, to leave the person out."""
        scale = 320 / frame.shape[1]
        gray = cv2.cvtColor(
            cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY
        )
        if self._key is None or face is None:
            self._key = gray
            return
        step = _background_step(self._key, gray, tuple(scale * v for v in face))
        if step is None:
            self._key = gray
            return
        place = step @ self._place
        rows, columns = gray.shape
        corners = np.array([(0, 0, 1), (columns, 0, 1), (0, rows, 1), (columns, rows, 1)], float).T
        drift = np.linalg.norm((place @ corners - corners)[:2], axis=0)
        self.shift = max(self.shift, float(np.median(drift)) / columns)
        if np.median(np.linalg.norm((step @ corners - corners)[:2], axis=0)) > 2.0:
            self._key, self._place = gray, place


def _background_step(before: np.ndarray, after: np.ndarray, face: Box) -> Float[np.ndarray, "3 3"] | None:
    """How the background moves between two grey pictures; None where too little of it can be seen or it does not agree."""
    outside = np.full(before.shape, 255, np.uint8)
    x, y, w, h = (int(v) for v in face)
    outside[max(0, y - h) :, max(0, x - w // 2) : x + w + w // 2] = 0  # hair, neck
    outside[max(0, y + h) :, max(0, x - w - w // 2) : x + 2 * w + w // 2] = 0  # shoulders
    corners = cv2.goodFeaturesToTrack(before, 200, 0.01, 6, mask=outside)
    if corners is None or len(corners) < 12:
        return None
    moved, there, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, winSize=(15, 15), maxLevel=3)
    there = there[:, 0] == 1
    if there.sum() < 12:
        return None
    matrix, agree = cv2.estimateAffinePartial2D(corners[there], moved[there], ransacReprojThreshold=1.0)
    if matrix is None or agree.mean() < 0.5:
        return None
    return np.vstack([matrix, [0, 0, 1]])
