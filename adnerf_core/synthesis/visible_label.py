"""A visible label: a few words on a dark plate in the lower left corner of every frame, for whoever wants it to be seen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from adnerf_core.errors import MissingBackend

DEFAULT_TEXT = "AI-generated"
"""What the label says where nothing else is asked for."""
HEIGHT, SMALLEST = 0.036, 10
"""Of the letters: the part of the picture's edge; and px, at least, where the words fit so."""
MARGIN = 0.025
"""Between the plate and the picture's edges, as a part of the edge."""
PLATE = 0.55
"""Opacity of the plate."""
OVER = 8
"""The label is drawn so many times as large and scaled down: small letters keep their shape."""


class VisibleLabel:
    """The label `text` for pictures of `size` px. Raises MissingBackend where the font is not there."""

    def __init__(self, text: str, size: int):
        margin = max(2, round(MARGIN * size))
        plate = _plate(text, size, size - 2 * margin)
        bottom, right = size - margin, margin + plate.shape[1]
        self._place = slice(bottom - plate.shape[0], bottom), slice(margin, right)
        self._light, self._opacity = plate[..., :1] * plate[..., 1:], plate[..., 1:]

    def over(
        self, frames: Iterable[UInt8[np.ndarray, "rows cols channels"]]
    ) -> Iterator[UInt8[np.ndarray, "rows cols channels"]]:
        """The frames, RGB or straight RGBA, with the label upon them."""
        for frame in frames:
            yield self.draw(frame)

    def draw(self, frame: UInt8[np.ndarray, "rows cols channels"]) -> UInt8[np.ndarray, "rows cols channels"]:
        """A copy of one frame, RGB or straight RGBA, with the label upon it."""
        drawn = frame.copy()
        below = frame[self._place].astype(np.float32) / 255
        shown = below[..., 3:] if frame.shape[-1] == 4 else np.float32(1)
        left = (1 - self._opacity) * shown
        whole = self._opacity + left
        color = (self._light + left * below[..., :3]) / np.maximum(whole, 1e-6)
        layers = [color, whole] if frame.shape[-1] == 4 else [color]
        drawn[self._place] = np.concatenate(layers, -1) * 255 + 0.5
        return drawn


def _plate(text: str, size: int, room: int) -> np.ndarray:
    """Brightness and opacity, 0..1, of the plate with the words, at most `room` px wide: [rows, cols, 2]."""
    height = max(SMALLEST, HEIGHT * size)
    font = _font(height * OVER)
    pad = 0.45 * height * OVER
    wide = font.getlength(text) + 2 * pad
    scale = min(1.0, room * OVER / wide) / OVER
    tall = 1.25 * height * OVER + pad
    picture = Image.new("LA", (int(wide), int(tall)), (0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, wide - 1, tall - 1), radius=0.3 * tall, fill=(0, round(255 * PLATE)))
    draw.text((wide / 2, tall / 2), text, font=font, fill=(255, 255), anchor="mm")
    small = picture.resize((max(1, round(wide * scale)), max(1, round(tall * scale))), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255


def _font(height: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which Matplotlib brings along: it has the letters of most alphabets."""
    found = find_spec("matplotlib")
    path = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if found and found.origin else None
    if path is None or not path.exists():
        raise MissingBackend("The visible label needs the font of Matplotlib: pip install matplotlib")
    return ImageFont.truetype(str(path), round(height))
