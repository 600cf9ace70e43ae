"""Which of several faces speaks: the one whose lips go with the sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import SeveralFaces
from adnerf_core.face.landmarks import CHIN, FOREHEAD_TOP
from adnerf_core.face.lip_pca import mouth_opening
from adnerf_core.face.tracking import FaceTracker
from adnerf_core.files import ffmpeg
from adnerf_core.preprocess.av_sync import LAGS_S, estimate_av_offset
from adnerf_core.preprocess.people import Face
from adnerf_core.preprocess.takes import Span

WATCHED_S, PIECES = 12.0, 3
"""How much of a take is watched, s: enough for the correlation of lips and sound to stand out; and in how many pieces, spread over the
take: in a conversation, the first to speak need not be the one who speaks most."""

WATCHED_PX = 192
"""Edge of the pictures in which the lips are followed, px: the tracker's own."""

WATCHED_FACES = 1.7
"""Edge of these pictures, in heights of the face."""

MIN_CORRELATION, MIN_LEAD = 0.25, 0.1
"""Correlation of the lips that speak with the sound, and its lead over that of all others, if they are watched for WATCHED_S; in a shorter
take, chance reaches more (docs/footage.md)."""

STILL_LIPS, MIN_MOTION = 0.25, 0.008
"""Motion of lips, over that of the ones that move most, below which they are at rest, such as those of a poster; and the least motion of
lips that speak, in heights of the face."""

LARGEST = 1.5
"""How much more weight (Face.weight) the largest and most constant face must have than the others to be chosen for that."""


SAME_LIPS, MAX_DELAY = 0.8, FPS // 2
"""Correlation of the lips of two faces from which they are one person's, seen in a mirror or on a screen, too; and by how many frames one of
them may be later: a screen beside a stage."""


class Lips(NamedTuple):
    """How the lips of a face move.

    Attributes:
        face: the face.
        correlation: of the lips with the sound.
        motion: standard deviation of the opening, heights of the face.
        opening: of the mouth in each frame of the take, heights of the face; NaN where it is not known.
    """

    face: Face
    correlation: float
    motion: float
    opening: Float[np.ndarray, " frames"]


def speaking_face(
    candidates: Sequence[Face],
    footage: Path,
    scale: float,
    size: tuple[int, int],
    samples: Float[np.ndarray, " samples"],
    tracker: Callable[[], FaceTracker],
) -> Face:
    """Returns the face that speaks, of several of one person the clearest; else the one whose lips alone move; else the largest and most
    constant one.

    Args:
        candidates: faces of one take, px of the source.
        footage: the footage as kept, which is `scale` times as large as the source and has `size` (width, height) px.
        scale: see `footage`.
        size: see `footage`.
        samples: the sound, SAMPLE_RATE samples a second, from the footage's start on.
        tracker: returns a new FaceTracker.

    Raises:
        SeveralFaces: if it cannot be told.
    """
    lips = [watch(face, footage, scale, size, samples, tracker()) for face in candidates]
    by_sound = sorted(lips, key=lambda each: -each.correlation)
    images = [each for each in by_sound[1:] if are_one(by_sound[0], each)]
    if images:
        return _clearest([by_sound[0], *images])
    chance = (WATCHED_S / min(WATCHED_S, candidates[0].take.seconds)) ** 0.5
    if by_sound[0].correlation > max(chance * MIN_CORRELATION, by_sound[1].correlation + chance * MIN_LEAD):
        return by_sound[0].face
    by_motion = sorted(lips, key=lambda each: -each.motion)
    if by_motion[0].motion > MIN_MOTION and by_motion[1].motion < STILL_LIPS * by_motion[0].motion:
        return by_motion[0].face
    by_weight = sorted(candidates, key=lambda face: -face.weight)
    if by_weight[0].weight > LARGEST * by_weight[1].weight:
        return by_weight[0]
    second = candidates[0].frames[0] / FPS
    places = "; ".join(
        f"{(box[0] + box[2] / 2) * scale / size[0]:.2f}, {(box[1] + box[3] / 2) * scale / size[1]:.2f}"
        for box in (face.boxes[0] for face in by_weight)
    )
    raise SeveralFaces(
        f"There are {len(lips)} faces, and it cannot be told which one speaks. At {second:.1f} s they are at x, y = {places}."
    )


def are_one(a: Lips, b: Lips) -> bool:
    """Whether two faces are one person's: their lips do the same, one of them perhaps a little later."""
    if min(a.motion, b.motion) < MIN_MOTION:
        return False
    return max(_likeness(a.opening, b.opening, delay) for delay in range(-MAX_DELAY, MAX_DELAY + 1)) > SAME_LIPS


def _likeness(a: Float[np.ndarray, " frames"], b: Float[np.ndarray, " frames"], delay: int) -> float:
    """Correlation of two openings, the second one moved by `delay` frames; 0 if they share too little."""
    moved = np.full_like(b, np.nan)
    moved[max(0, delay) : len(b) + min(0, delay)] = b[max(0, -delay) : len(b) - max(0, delay)]
    both = np.isfinite(a) & np.isfinite(moved)
    return float(np.corrcoef(a[both], moved[both])[0, 1]) if both.sum() > 2 * FPS else 0.0


def _clearest(lips: Sequence[Lips]) -> Face:
    """The face with the most weight and contrast: a mirror and a screen show it smaller, darker or softer."""
    return max((each.face for each in lips), key=lambda face: face.weight * np.mean(face.pictures, axis=0).std())


def _square_around(boxes: Float[np.ndarray, "looks 4"], width: int, height: int) -> tuple[int, int, int]:
    """The square (x, y, side) around a face, px of the footage, in which no other one is whole."""
    middles = boxes[:, :2] + boxes[:, 2:] / 2
    side = int(min(WATCHED_FACES * np.median(boxes[:, 3]) + np.ptp(middles, axis=0).max(), width, height)) // 2 * 2
    left, top = (np.median(middles, axis=0) - side / 2).clip(0, (width - side, height - side)).astype(int)
    return int(left), int(top), side


def _pictures(
    face: Face, part: Span, footage: Path, scale: float, size: tuple[int, int]
) -> Iterator[UInt8[np.ndarray, "edge edge 3"]]:
    """The surroundings of a face in a part of its take."""
    near = [box for frame, box in zip(face.frames, face.boxes, strict=True) if part.first <= frame < part.end]
    x, y, side = _square_around(scale * np.array(near or face.boxes), *size)
    frames = ffmpeg.read_frames(
        footage,
        crop=(x, y, side, side),
        size=(WATCHED_PX, WATCHED_PX),
        start_s=part.first / FPS,
        duration_s=part.seconds,
    )
    with closing(frames):
        yield from islice(frames, part.end - part.first)


def watch(
    face: Face,
    footage: Path,
    scale: float,
    size: tuple[int, int],
    samples: Float[np.ndarray, " samples"],
    tracker: FaceTracker,
) -> Lips:
    """Follows the lips of one face through WATCHED_S of its take; arguments as in speaking_face()."""
    first, total = face.take.first, face.take.end - face.take.first
    count = min(total, round(WATCHED_S * FPS) // PIECES)
    opening = np.full(total, np.nan)
    with closing(tracker):
        for start in np.linspace(0, total - count, min(PIECES, -(-total // count))).astype(int).tolist():
            part = Span(first + start, first + start + count)
            for k, frame in enumerate(_pictures(face, part, footage, scale, size), start):
                points = tracker(frame)
                if points is not None:
                    height = np.linalg.norm(points[CHIN, :2] - points[FOREHEAD_TOP, :2])
                    opening[k] = mouth_opening(points[None, :, :2])[0] / height
    if np.isfinite(opening).sum() < FPS:
        return Lips(face, 0.0, 0.0, opening)
    start = first * SAMPLE_RATE // FPS
    heard = samples[start : start + round((total / FPS + LAGS_S[-1]) * SAMPLE_RATE)]
    return Lips(face, estimate_av_offset(heard, opening).correlation, float(np.nanstd(opening)), opening)
