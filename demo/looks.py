"""Paints speakers: the picture of one person, whose face, skin, hair and clothes are changed into those of other people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np

from demo import brushes
from demo.easel import (
    BROWS,
    CHIN,
    EYES,
    HAIRLINE,
    HEAD_ROWS,
    LEFT,
    LIPS,
    NOSE,
    OVAL,
    PAINT,
    PHOTO_ROWS,
    TOP,
    Easel,
    find_face,
    find_person,
    photograph,
    rgba,
)

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Speaker:
    """What a speaker looks and sounds like. The defaults are the astronaut herself. Colours are RGB.

    Attributes:
        skin, hair: mean colours; None leaves those of the picture.
        cut: of the hair: that of the picture, short, or long and falling over the shoulders.
        beard: how dense a full beard is, 0 (none) to 1.
        glasses: whether the speaker wears glasses; "dark" are sunglasses.
        mask: colour of a cloth over nose, mouth and chin.
        hat: colour of a knitted cap.
        clothes: colour of a jumper; None is the suit of the picture.
        jaw, nose, eyes, lips: sizes of parts of the face, over those of the picture: 0.85 to 1.2 look natural.
        voice, pitch: for speech.speak().
    """

    skin: Color | None = None
    hair: Color | None = None
    cut: Literal["own", "short", "long"] = "own"
    beard: float = 0.0
    glasses: bool | Literal["dark"] = False
    mask: Color | None = None
    hat: Color | None = None
    clothes: Color | None = None
    jaw: float = 1.0
    nose: float = 1.0
    eyes: float = 1.0
    lips: float = 1.0
    voice: str = "en-us+f3"
    pitch: int = 48


class Layers(NamedTuple):
    """A painted speaker: the layers from back to front, [rows, WIDTH * PAINT, 4] uint8 RGBA.

    Attributes:
        body: neck and clothes.
        head: face and hair, which move as one rigid body but for mouth and eyelids.
        worn: glasses and mask, in front of the face.
        points: the landmarks of the face, [478, 3], px of the layers.
    """

    body: np.ndarray
    head: np.ndarray
    worn: np.ndarray
    points: np.ndarray


def paint(speaker: Speaker) -> Layers:
    """Paints a speaker; equal speakers give equal pictures."""
    photo = photograph()
    points = find_face(photo)
    if (speaker.jaw, speaker.nose, speaker.eyes, speaker.lips) != (1, 1, 1, 1):
        photo = _reshape(photo, points, speaker)
        points = find_face(photo)
    easel = Easel(points)
    person = find_person(photo)
    face = easel.lines(OVAL, soft=0.8)
    hair = np.where(easel.y < HEAD_ROWS, person, 0).astype(np.float32) / 255
    head = np.maximum(hair, face)
    image = _without_fringe(photo, np.maximum(person, np.rint(face * 255).astype(np.uint8)))
    skin = _skin(easel, image, face, head)
    tone = np.median(image[skin > 0.95], axis=0)
    if speaker.skin is not None:
        image, tone = _retint(image, skin, tone, speaker.skin), np.array(speaker.skin, np.float32)
    mane = np.clip(head - skin, 0, 1) * (1 - easel.lines(OVAL, soft=1) * (easel.y > points[NOSE, 1] - 25))
    if speaker.hair is not None:
        mane_tone = np.median(image[mane > 0.9], axis=0)
        image = _retint(image, mane, mane_tone, speaker.hair, lift=0.8, grey=True)
        brows = 0.6 * easel.lines(*BROWS, soft=0.8)[..., None]
        image = image + (np.array(speaker.hair, np.float32) - image) * brows
    clothes = speaker.clothes
    body = brushes.jumper(easel, tone, clothes) if clothes else brushes.suit(easel, image, person, head)
    if speaker.cut == "short":
        head = head * brushes.short_cut(easel, face)
    head_layer = rgba(image, head)
    if speaker.cut == "long":
        color = np.array(speaker.hair or np.median(image[mane > 0.9], axis=0))
        body = brushes.hair_behind(easel, body, color)
        brushes.long_hair(easel, head_layer, color)
    if speaker.beard:
        brushes.beard(easel, head_layer, np.array(speaker.hair or (70, 50, 35), np.float32), speaker.beard)
    if speaker.hat is not None:
        brushes.hat(easel, head_layer, np.array(speaker.hat, np.float32))
    worn = brushes.glasses(easel, speaker.glasses == "dark") if speaker.glasses else np.zeros_like(head_layer)
    if speaker.mask is not None:
        brushes.mask(easel, worn, np.array(speaker.mask, np.float32))
    on_layers = (points - (LEFT, TOP, 0)) * PAINT
    rows = slice(None if clothes else (PHOTO_ROWS - TOP) * PAINT)
    return Layers(body[rows], head_layer[rows], worn[rows], on_layers)


def _reshape(photo: np.ndarray, points: np.ndarray, speaker: Speaker) -> np.ndarray:
    """Enlarges or shrinks parts of the face around their centres."""
    x, y = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in photo.shape[1::-1]))
    at = (points[:, :2] - (LEFT, TOP)) * PAINT
    jaw = at[[172, 397, CHIN]].mean(0)
    parts = [(jaw, (48, 34), (speaker.jaw, 1.0)), (at[NOSE], (15, 22), (speaker.nose, 1.0 + 0.4 * (speaker.nose - 1)))]
    parts += [(at[list(eye)].mean(0), (15, 12), (speaker.eyes, speaker.eyes)) for eye in EYES]
    parts += [(at[list(LIPS)].mean(0), (26, 14), (1.0 + 0.3 * (speaker.lips - 1), speaker.lips))]
    map_x, map_y = x.copy(), y.copy()
    for (center_x, center_y), reach, factor in parts:
        near = np.exp(-(((x - center_x) / (reach[0] * PAINT)) ** 2) - ((y - center_y) / (reach[1] * PAINT)) ** 2)
        map_x -= near * (x - center_x) * (1 - 1 / factor[0])
        map_y -= near * (y - center_y) * (1 - 1 / factor[1])
    return cv2.remap(photo, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def _without_fringe(photo: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Returns the picture as float32, the colours of the person's outline being those of the pixels inside it."""
    inside = (cv2.erode(person, np.ones((7, 7))) > 250).astype(np.float32)
    weight = cv2.GaussianBlur(inside, (0, 0), 4)[..., None]
    spread = cv2.GaussianBlur(photo * inside[..., None], (0, 0), 4) / np.maximum(weight, 1e-4)
    use = (inside > 0) | (weight[..., 0] < 1e-3)
    return np.where(use[..., None], photo, spread).astype(np.float32)


def _skin(easel: Easel, image: np.ndarray, face: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Returns how much of each pixel is skin of the head, 0..1: what is coloured like the cheeks, in and around the face."""
    lab = cv2.cvtColor(image / 255, cv2.COLOR_RGB2LAB)
    cheeks = easel.polygon(easel.points[[50, 205, 36], :2]) + easel.polygon(easel.points[[280, 425, 266], :2])
    mean, spread = lab[cheeks > 0.9].mean(0), np.array([15, 6, 9])
    # Hair is darker than skin, and less red; shadow under the chin is darker too, but there is no hair there.
    distance = np.clip((mean - lab) / spread, 0, None)[..., :2].sum(-1) / 2
    near = cv2.dilate(face, np.ones((9 * PAINT, 15 * PAINT))) * head
    fringe = np.clip((easel.y - HAIRLINE[0] - HAIRLINE[1] * (easel.x - easel.center)) / 2, 0, 1)
    colored = near * fringe / (1 + np.exp(6 * (distance - 1.4)))
    lower = face * np.clip((easel.y - easel.points[NOSE, 1] + 12) / 8, 0, 1)
    skin = np.maximum(cv2.GaussianBlur(colored, (0, 0), 0.8 * PAINT), lower)
    return skin * (1 - easel.lines(*EYES, soft=0.5))


def _retint(
    image: np.ndarray, where: np.ndarray, old: np.ndarray, new: Color, *, lift: float = 0.9, grey: bool = False
) -> np.ndarray:
    """Returns the picture with the colour `old` turned into `new`.

    Contrast is kept to the power of `lift`; if `grey`, only that of the lightness, not that of the hues.
    """
    ratio = np.clip(image / np.maximum(old, 8), 0.02, 3.5)
    if grey:
        ratio = ratio @ np.full((3, 1), 1 / 3)
    tinted = np.clip(ratio**lift * np.array(new, np.float32), 0, 255)
    return image + (tinted - image) * where[..., None]
