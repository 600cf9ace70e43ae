"""A visible label: a short text on a dark plate in the lower left corner of every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from adnerf_core.errors import MissingBackend
from adnerf_core.files import yuv

DEFAULT_TEXT = "AI-generated"
"""Text of the label if no other is given."""
TEXT_HEIGHT = 0.036
"""Font size as a share of the picture's shorter edge, like small subtitles."""
MIN_TEXT_PX = 10
"""Smallest font size: smaller letters are not readable. A text that does not fit at this size is scaled down all the same."""
MARGIN = 0.025
"""Distance of the plate from the picture's edges, as a share of the shorter edge."""
PLATE_OPACITY = 0.55
"""Opacity of the black plate: white letters are readable before a white background, and the picture stays visible."""
PADDING, LINE_HEIGHT, CORNER_RADIUS = 0.45, 1.25, 0.3
"""Space around the text and height of its line, in font sizes; radius of the plate's corners, as a share of its height."""
SUPERSAMPLING = 8
"""The label is drawn this many times larger and scaled down, so that small letters keep their shape."""


class VisibleLabel:
    """Draws one label into pictures of one size."""

    def __init__(self, text: str, height: int, width: int):
        """Draws the label once.

        Args:
            text: Text of the label.
            height: Of the pictures, px.
            width: Of the pictures, px.

        Raises:
            MissingBackend: If the font is missing.
        """
        edge = min(height, width)
        margin = max(2, round(MARGIN * edge))
        plate = _plate(text, edge, width - 2 * margin)
        bottom, right = height - margin, margin + plate.shape[1]
        self._place = slice(bottom - plate.shape[0], bottom), slice(margin, right)
        self._premultiplied, self._opacity = plate[..., :1] * plate[..., 1:], plate[..., 1:]

    def over(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the frames with the label on them: copies of RGB or straight RGBA, and planes (see yuv.py) changed in place."""
        for frame in frames:
            if frame.ndim == 2:
                self.draw_on_planes(frame)
                yield frame
            else:
                yield self.draw(frame)

    def draw_on_planes(self, picture: yuv.Picture) -> None:
        """Draws the label into a picture of planes, in place."""
        rows, cols = self._place
        # The even box around the plate, and the plate in it.
        box = tuple(slice(part.start // 2 * 2, -(-part.stop // 2) * 2) for part in (rows, cols))
        inside = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip(self._place, box, strict=True)
        )
        below = yuv.to_rgb(picture, box)
        change = np.zeros_like(below)
        change[inside] = self._premultiplied * 255 - self._opacity * below[inside]
        yuv.add_rgb(picture, box, change)

    def draw(self, frame: UInt8[np.ndarray, "rows cols channels"]) -> UInt8[np.ndarray, "rows cols channels"]:
        """Returns a copy of a frame, RGB or straight RGBA, with the label on it."""
        drawn = frame.copy()
        below = frame[self._place].astype(np.float32) / 255
        below_opacity = below[..., 3:] if frame.shape[-1] == 4 else np.float32(1)
        below_share = (1 - self._opacity) * below_opacity
        opacity = self._opacity + below_share
        color = (self._premultiplied + below_share * below[..., :3]) / np.maximum(opacity, 1e-6)
        layers = [color, opacity] if frame.shape[-1] == 4 else [color]
        drawn[self._place] = np.concatenate(layers, -1) * 255 + 0.5
        return drawn


def _plate(text: str, size: int, max_width: int) -> Float[np.ndarray, "rows cols 2"]:
    """Draws the text on its plate, at most `max_width` px wide; returns brightness and opacity, 0..1."""
    font_size = max(MIN_TEXT_PX, TEXT_HEIGHT * size) * SUPERSAMPLING
    font = _font(font_size)
    padding = PADDING * font_size
    width = font.getlength(text) + 2 * padding
    scale = min(1.0, max_width * SUPERSAMPLING / width) / SUPERSAMPLING
    height = LINE_HEIGHT * font_size + padding
    picture = Image.new("LA", (int(width), int(height)), (0, 0))
    draw = ImageDraw.Draw(picture)
    plate = (0, 0, width - 1, height - 1)
    draw.rounded_rectangle(plate, radius=CORNER_RADIUS * height, fill=(0, round(255 * PLATE_OPACITY)))
    draw.text((width / 2, height / 2), text, font=font, fill=(255, 255), anchor="mm")
    small = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255


def _font(size: float) -> ImageFont.FreeTypeFont:
    """Loads DejaVu Sans, which comes with Matplotlib and has the letters of most alphabets."""
    package = find_spec("matplotlib")
    path = Path(package.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf" if package and package.origin else None
    if path is None or not path.exists():
        raise MissingBackend(
            "The visible label needs the font of Matplotlib.", "Run: pip install matplotlib, or ask the operator to."
        )
    return ImageFont.truetype(str(path), round(size))
