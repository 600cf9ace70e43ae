"""Paints what is around a speaker: a room with a window, a shelf and a lamp, a desk, a screen, a title card.

Places are in heights of the picture, from its upper left corner, so that a room looks alike in all sizes and shapes.
"""

from __future__ import annotations

import cv2
import numpy as np

WALLS = ((196, 188, 174), (168, 182, 186), (190, 176, 168), (176, 186, 166), (158, 166, 184))
"""Colours of walls, RGB."""

BOOKS = (
    (122, 52, 44),
    (46, 74, 98),
    (186, 160, 108),
    (70, 92, 66),
    (98, 70, 104),
    (208, 200, 184),
    (58, 54, 58),
    (164, 98, 52),
)
"""Colours of books, RGB."""

WOOD = (112, 78, 52)
"""Colour of furniture, RGB."""


class Canvas:
    """A picture, [rows, columns, 3] float32 RGB 0..255, on which places are given in heights of the picture."""

    def __init__(self, width: int, height: int, color: tuple[int, int, int]):
        self.pixels = np.full((height, width, 3), color, np.float32)
        self.height, self.wide = height, width / height
        self.y, self.x = (np.mgrid[:height, :width].astype(np.float32) + 0.5) / height

    def box(self, left: float, top: float, right: float, bottom: float, color: tuple[int, int, int]) -> None:
        """Fills a rectangle."""
        rows, columns = (
            slice(max(0, round(a * self.height)), max(0, round(b * self.height)))
            for a, b in ((top, bottom), (left, right))
        )
        self.pixels[rows, columns] = color

    def shade(self, factor: np.ndarray) -> None:
        """Multiplies the brightness by `factor`, [rows, columns]."""
        self.pixels *= factor[..., None]

    def cast(self, left: float, top: float, right: float, bottom: float, soft: float = 0.02) -> None:
        """Darkens the surroundings of a rectangle, as a shadow on the wall."""
        beyond_x = np.maximum(np.maximum(left - self.x, self.x - right), 0)
        beyond_y = np.maximum(np.maximum(top - self.y, self.y - bottom), 0)
        self.shade(1 - 0.3 * np.exp(-np.hypot(beyond_x, beyond_y) / soft))


def paint_room(width: int, height: int, seed: int) -> np.ndarray:
    """Returns an empty room, [height, width, 3] uint8 RGB; each `seed` is another one."""
    random = np.random.default_rng(seed)
    canvas = Canvas(width, height, WALLS[seed % len(WALLS)])
    coarse = random.normal(size=(6, 9)).astype(np.float32)
    canvas.shade(1 + 0.012 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    canvas.shade(0.9 + 0.14 * np.exp(-(((canvas.x - 0.2) / 0.9) ** 2)) - 0.1 * canvas.y)
    middle = canvas.wide / 2
    _window(canvas, middle - 0.82, 0.06, 0.3, 0.52)
    _shelf(canvas, middle + 0.42, 0.1, 0.42, 0.6, random)
    _lamp(canvas, middle - 0.42, 0.46)
    _picture(canvas, middle + 0.02, -0.02, 0.24, 0.13, random)
    picture = cv2.GaussianBlur(canvas.pixels, (0, 0), 0.0022 * height)  # the room is behind the plane of focus
    picture += random.normal(scale=0.8, size=picture.shape).astype(np.float32)
    picture = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    return picture[:, ::-1].copy() if seed % 2 else picture


def _window(canvas: Canvas, left: float, top: float, width: float, height: float) -> None:
    right, bottom = left + width, top + height
    canvas.cast(left, top, right, bottom, 0.05)
    canvas.box(left, top, right, bottom, (226, 222, 214))
    frame = 0.014
    inside = (
        (canvas.x > left + frame) & (canvas.x < right - frame) & (canvas.y > top + frame) & (canvas.y < bottom - frame)
    )
    down = ((canvas.y - top) / height)[..., None]
    sky = np.float32([150, 190, 226]) * (1 - down) + np.float32([214, 226, 232]) * down
    hills = canvas.y > top + height * (0.72 + 0.05 * np.sin(canvas.x * 23) + 0.02 * np.sin(canvas.x * 71))
    sky = np.where(hills[..., None], np.float32([104, 130, 96]) * (1.1 - 0.3 * down), sky)
    canvas.pixels = np.where(inside[..., None], sky, canvas.pixels)
    canvas.box(left + width / 2 - 0.006, top, left + width / 2 + 0.006, bottom, (226, 222, 214))
    canvas.box(left, top + 0.4 * height, right, top + 0.4 * height + 0.011, (226, 222, 214))
    canvas.box(left - 0.02, bottom, right + 0.02, bottom + 0.018, (236, 232, 224))
    for edge in (left - 0.045, right - 0.03):
        folds = 0.88 + 0.1 * np.sin((canvas.x - edge) * 230)
        curtain = (canvas.x > edge) & (canvas.x < edge + 0.075) & (canvas.y < bottom + 0.1)
        canvas.pixels = np.where(curtain[..., None], np.float32([176, 120, 104]) * folds[..., None], canvas.pixels)


def _shelf(canvas: Canvas, left: float, top: float, width: float, height: float, random: np.random.Generator) -> None:
    right, bottom, boards = left + width, top + height, 3
    canvas.cast(left, top, right, bottom, 0.04)
    canvas.box(left, top, right, bottom, tuple(int(0.55 * c) for c in WOOD))
    for row in range(boards):
        low = top + (row + 1) * height / boards
        at = left + 0.02
        while at < right - 0.05:
            thick, tall = random.uniform(0.014, 0.032), random.uniform(0.62, 0.86) * height / boards
            color = np.array(BOOKS[random.integers(len(BOOKS))]) * random.uniform(0.8, 1.1)
            canvas.box(at, low - tall, at + thick, low, tuple(color))
            canvas.box(at, low - tall * 0.8, at + thick, low - tall * 0.74, tuple(np.minimum(color * 1.35, 255)))
            canvas.box(at + thick * 0.85, low - tall, at + thick, low, tuple(color * 0.7))
            at += thick + (random.uniform(0.03, 0.07) if random.random() < 0.12 else 0.0015)
        canvas.box(left, low - 0.004, right, low + 0.012, WOOD)
    for edge in (left, right - 0.014):
        canvas.box(edge, top - 0.012, edge + 0.014, bottom, WOOD)
    canvas.box(left, top - 0.012, right, top, WOOD)


def _lamp(canvas: Canvas, x: float, y: float) -> None:
    glow = np.exp(-((canvas.x - x) ** 2 + (canvas.y - y) ** 2) / 0.06)[..., None]
    canvas.pixels += glow * np.float32([40, 30, 12])
    canvas.box(x - 0.006, y, x + 0.006, 1.0, (54, 48, 46))
    half = 0.045 + 0.3 * (canvas.y - y + 0.09)
    cone = (np.abs(canvas.x - x) < half) & (canvas.y > y - 0.09) & (canvas.y < y + 0.03)
    light = 1.0 - 0.25 * (np.abs(canvas.x - x) / 0.08) ** 2
    canvas.pixels = np.where(cone[..., None], np.float32([250, 226, 176]) * light[..., None], canvas.pixels)


def _picture(canvas: Canvas, left: float, top: float, width: float, height: float, random: np.random.Generator) -> None:
    canvas.cast(left, top, left + width, top + height)
    canvas.box(left, top, left + width, top + height, (64, 50, 40))
    colors = (random.uniform(70, 210, (3, 4, 1)) + random.uniform(-35, 35, (3, 4, 3))).astype(np.float32)
    rows, columns = (
        slice(max(0, round((a + 0.012) * canvas.height)), round((a + b - 0.012) * canvas.height))
        for a, b in ((top, height), (left, width))
    )
    shape = canvas.pixels[rows, columns].shape
    if min(shape) > 0:
        canvas.pixels[rows, columns] = cv2.resize(colors, shape[1::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255)


def paint_desk(width: int, height: int, top: float) -> np.ndarray:
    """Returns the front of a desk that hides everything from `top` (0..1) on, [height, width, 4] uint8 RGBA."""
    canvas = Canvas(width, height, WOOD)
    grain = np.random.default_rng(5).normal(size=(height // 3 + 1, 12)).astype(np.float32)
    canvas.shade(1 + 0.05 * cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC))
    canvas.shade(np.where(canvas.y < top + 0.05, 1.5 - 6 * (canvas.y - top), 0.85 - 0.35 * (canvas.y - top)))
    cover = np.clip((canvas.y - top) * height / 2, 0, 1) * 255
    return np.clip(np.rint(np.dstack([canvas.pixels, cover])), 0, 255).astype(np.uint8)


def paint_screen(width: int, height: int) -> np.ndarray:
    """Returns a wide picture that scrolls on a screen behind the speaker, [height, 3 * width, 3] uint8; its ends meet."""
    random = np.random.default_rng(11)
    coarse = random.uniform(50, 190, (5, 14, 1)) + random.uniform(-24, 24, (5, 14, 3)) + (-14, 0, 18)
    coarse = coarse.astype(np.float32)
    coarse = np.concatenate([coarse, coarse[:, :1]], 1)
    picture = cv2.resize(coarse, (3 * width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(3 * width) / height, np.arange(height) / height)
    picture += 26 * (np.sin(2 * np.pi * 6 * x * height / (3 * width)) * np.sin(9 * y))[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def paint_poster(drawing: np.ndarray) -> np.ndarray:
    """Returns a framed poster of the person of an RGBA drawing, of the same size, [rows, columns, 4] uint8 RGBA."""
    height, width = drawing.shape[:2]
    canvas = Canvas(width, height, (206, 196, 172))
    canvas.shade(1.05 - 0.25 * canvas.y)
    cover = drawing[..., 3:].astype(np.float32) / 255
    canvas.pixels += (drawing[..., :3] - canvas.pixels) * cover
    edge = 0.025
    inside = (canvas.x > edge) & (canvas.x < canvas.wide - edge) & (canvas.y > edge) & (canvas.y < 1 - edge)
    picture = np.where(inside[..., None], canvas.pixels, np.float32(40))
    return np.clip(np.dstack([picture, np.full(inside.shape, 255)]), 0, 255).astype(np.uint8)


def paint_title(width: int, height: int, text: str) -> np.ndarray:
    """Returns a title card, [height, width, 3] uint8 RGB."""
    canvas = Canvas(width, height, (28, 44, 66))
    canvas.shade(1.3 - 0.6 * canvas.y)
    picture = np.clip(canvas.pixels, 0, 255).astype(np.uint8)
    scale = height / 300
    (wide, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, scale, 2)
    at = (width - wide) // 2, (height + tall) // 2
    return cv2.putText(picture, text, at, cv2.FONT_HERSHEY_DUPLEX, scale, (236, 232, 220), 2, cv2.LINE_AA)
