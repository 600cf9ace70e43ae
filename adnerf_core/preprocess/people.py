"""Whose face it is: links the faces that the detector finds, and chooses the person and the takes that show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.config import FPS, FaceChoice
from adnerf_core.errors import NoFaceFound
from adnerf_core.preprocess.face_detector import Box
from adnerf_core.preprocess.takes import Span

MIN_FACE_SHARE = 0.2
"""Share of the looks into a take that must find the face. It is low because the detector misses turned faces; the tracking decides."""

SAME_PLACE, SAME_SIZE, MAX_MISSED = 0.7, 1.7, 4
"""A face is the one of an earlier look, at most so many looks before, if its centre has moved by less than this share of its height and
its height has changed by less than this factor. Hands, which are found once in a place, so become no person."""

RIVAL_HEIGHT = 0.4
"""Height of another face, over the person's, from which it can be the one who speaks: smaller ones are passers-by or pictures."""

LOOK_SIZE = (12, 16)
"""Width and height, px, of the picture that describes a face, its hair and its collar."""

LOOK_MARGIN = 0.5
"""Margin around the box of a face in that picture, in its width and height."""

SAME_LOOK = 0.55
"""Correlation of two such pictures from which they may show the same person (docs/footage.md)."""

MAX_CROP_GROWTH, MAX_HEIGHT_RATIO = 1.35, 1.7
"""How much larger the crop of several takes may be than that of each alone, and how much higher the face may be in one of them than in
another. Beyond that a take is learnt from at too few pixels."""

MIN_HELD = 0.95
"""Share of what the crop of a take shows of the face that the crop of several must show, too: it cannot be larger than the picture, so that a
face that is on the left in one take and on the right in another may lie outside."""

CROP_FACES = 2.3
"""Edge of the crop in heights of the face: head and shoulders."""

WHOLE_FACES = 3.0
"""If the shorter edge of the picture has no more heights of the face than this, it is a portrait already and is kept whole."""

CROP_DROP = 0.05
"""How much lower than the face the crop is centred, in heights of the face. The detector's box goes from brows to chin, and the
shoulders need more room below it than the hair above."""

CROP_QUANTILE = 0.02
"""Share of the detections, at either end, that may lie outside the range of motion that the crop allows for: false ones."""

MAX_SEEDS = 6
"""Faces from which sets of takes are built, those that are seen longest first."""


@dataclass(frozen=True)
class Look:
    """What the detector found in one frame: boxes in px of the source, and a small picture of each face."""

    frame: int
    boxes: list[Box]
    pictures: list[Float[np.ndarray, "16 12 3"]]


@dataclass
class Face:
    """One face through one take."""

    take: Span
    frames: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    pictures: list[Float[np.ndarray, "16 12 3"]] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Median height, px of the source."""
        return float(np.median([box[3] for box in self.boxes]))

    @property
    def weight(self) -> float:
        """How large and how constant the face is: its height times its seconds, weighted by the share of looks that find it."""
        return self.height * self.take.seconds * min(1.0, len(self.frames) / max(1, self.looks))

    looks: int = 1
    """Looks into the take."""


def small_picture(frame: UInt8[np.ndarray, "height width 3"], box: Box) -> Float[np.ndarray, "16 12 3"]:
    """Returns a small picture of a face with its hair and collar; `box` in px of the frame."""
    x, y, w, h = box
    height, width = frame.shape[:2]
    left, top = int(x - LOOK_MARGIN * w), int(y - LOOK_MARGIN * h)
    right, bottom = int(x + (1 + LOOK_MARGIN) * w) + 1, int(y + (1 + LOOK_MARGIN) * h) + 1
    part = frame[max(0, top) : max(1, bottom), max(0, left) : max(1, right)]
    # What lies beyond the picture is filled with its edge, so that a face is as large in the small picture of a closer take.
    beyond = max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width)
    whole = cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE)
    return cv2.resize(whole, LOOK_SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)


def find_faces(looks: Sequence[Look], takes: Sequence[Span]) -> list[Face]:
    """Links the looks into faces, take by take; those that are seen too rarely are left out."""
    faces = []
    for take in takes:
        inside = [look for look in looks if take.first <= look.frame < take.end]
        found: list[tuple[int, Face]] = []
        for number, look in enumerate(inside):
            for box, picture in zip(look.boxes, look.pictures, strict=True):
                near = [
                    i for i, (seen, face) in enumerate(found) if 0 < number - seen <= MAX_MISSED and _same(face, box)
                ]
                at = min(near, key=lambda i: _distance(found[i][1].boxes[-1], box), default=None)
                face = Face(take, looks=len(inside)) if at is None else found[at][1]
                face.frames.append(look.frame)
                face.boxes.append(box)
                face.pictures.append(picture)
                if at is None:
                    found.append((number, face))
                else:
                    found[at] = (number, face)
        enough = max(min(2, len(inside)), MIN_FACE_SHARE * len(inside))
        faces += [face for face in _rejoined([face for _, face in found]) if len(face.frames) >= enough]
    return faces


def _rejoined(faces: list[Face]) -> list[Face]:
    """Joins faces of one take that look alike and are never seen at the same time: somebody who left and came back."""
    joined: list[Face] = []
    for face in sorted(faces, key=lambda face: -len(face.frames)):
        same = next((each for each in joined if _apart(each, face) and _alike(each, face)), None)
        if same is None:
            joined.append(face)
            continue
        order = np.argsort(same.frames + face.frames)
        for name in ("frames", "boxes", "pictures"):
            together = getattr(same, name) + getattr(face, name)
            setattr(same, name, [together[i] for i in order])
    return joined


def _apart(a: Face, b: Face) -> bool:
    return not set(a.frames) & set(b.frames)


def _same(face: Face, box: Box) -> bool:
    last = face.boxes[-1]
    ratio = box[3] / last[3]
    return _distance(last, box) < SAME_PLACE * last[3] and 1 / SAME_SIZE < ratio < SAME_SIZE


def _distance(a: Box, b: Box) -> float:
    return float(np.hypot(a[0] + a[2] / 2 - b[0] - b[2] / 2, a[1] + a[3] / 2 - b[1] - b[3] / 2))


def people(faces: Sequence[Face], width: int, height: int) -> list[list[Face]]:
    """Returns sets of faces that can serve together, the weightiest first: one face a take, alike, and in a common crop.

    Args:
        faces: see find_faces().
        width: of the source, px.
        height: of the source, px.
    """
    ordered = sorted(faces, key=lambda face: -face.weight)
    sets: list[list[Face]] = []
    for seed in ordered:
        if len(sets) == MAX_SEEDS:
            break
        if not any(face is seed for members in sets for face in members):
            sets.append(serving_together(seed, ordered, width, height))
    return sorted(sets, key=lambda members: -sum(face.weight for face in members))


def serving_together(seed: Face, faces: Sequence[Face], width: int, height: int) -> list[Face]:
    """Returns the faces of other takes that can serve together with `seed`, and `seed`, in the order of time."""
    members = [seed]
    for face in faces:
        if all(face.take != member.take for member in members) and _alike(seed, face):
            boxes = [np.array(each.boxes) for each in (*members, face)]
            crops = [choose_crop(each, width, height) for each in boxes]
            together = choose_crop(np.concatenate(boxes), width, height)
            heights = [each.height for each in (*members, face)]
            if (
                together[2] <= MAX_CROP_GROWTH * min(crop[2] for crop in crops)
                and max(heights) <= MAX_HEIGHT_RATIO * min(heights)
                and all(
                    _seen_in(together, each) > MIN_HELD * _seen_in(crop, each)
                    for crop, each in zip(crops, boxes, strict=True)
                )
            ):
                members.append(face)
    return sorted(members, key=lambda face: face.take)


def _seen_in(crop: tuple[int, int, int, int], boxes: Float[np.ndarray, "faces 4"]) -> float:
    """The share of a face, at its usual place, that lies in a crop."""
    place, size = np.median(boxes, axis=0).reshape(2, 2)
    corner, edges = np.array(crop).reshape(2, 2)
    inside = np.minimum(place + size, corner + edges) - np.maximum(place, corner)
    return float(np.prod(inside.clip(0) / size))


def _alike(a: Face, b: Face) -> bool:
    """Whether two faces look alike, apart from brightness."""
    pictures = [np.mean(face.pictures, axis=0).ravel() for face in (a, b)]
    return bool(np.corrcoef(*pictures)[0, 1] > SAME_LOOK)


def rivals(members: Sequence[Face], faces: Sequence[Face]) -> list[Face]:
    """Returns the other faces that are seen beside `members` and are large enough to be the person."""
    heights = {member.take: member.height for member in members}
    return [
        face
        for face in faces
        if face.take in heights
        and not any(face is member for member in members)
        and face.height > RIVAL_HEIGHT * heights[face.take]
        and not any(_apart(face, member) for member in members if member.take == face.take)
    ]


def chosen_face(faces: Sequence[Face], choice: FaceChoice, width: int, height: int) -> Face:
    """Returns the face that a client chose. Raises NoFaceFound if there is none at that place at that time."""
    frame, x, y = choice.second * FPS, choice.x * width, choice.y * height
    best, least = None, np.inf
    for face in faces:
        if face.take.first <= frame < face.take.end:
            box = face.boxes[int(np.argmin(np.abs(np.array(face.frames) - frame)))]
            distance = _distance(box, (x, y, 0.0, 0.0)) / box[3]
            if distance < min(least, 1.0):
                best, least = face, distance
    if best is None:
        raise NoFaceFound(
            f"There is no face at {choice.x:.2f}, {choice.y:.2f} at {choice.second:.1f} s.",
            "Give `face` as x and y (0..1, from the upper left) of the middle of the face, and the second at which it is there.",
        )
    return best


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
