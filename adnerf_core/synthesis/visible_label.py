"""A visible label: a short text on a dark plate in the lower left corner of every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from adnerf_core.synthesis.fonts import load_font, packaged_font
from adnerf_core.synthesis.overlay import Overlay

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
        place = slice(bottom - plate.shape[0], bottom), slice(margin, right)
        overlay = Overlay(place, plate[..., :1] * plate[..., 1:], plate[..., 1:])
        self.draw, self.draw_on_planes, self._over = overlay.draw, overlay.draw_on_planes, overlay.over

    def over(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the frames with the label on them: copies of RGB or straight RGBA, and planes (see yuv.py) changed in place."""
        return map(self._over, frames)


def _plate(text: str, size: int, max_width: int) -> Float[np.ndarray, "rows cols 2"]:
    """Draws the text on its plate, at most `max_width` px wide; returns brightness and opacity, 0..1."""
    font_size = max(MIN_TEXT_PX, TEXT_HEIGHT * size) * SUPERSAMPLING
    font = load_font(packaged_font("DejaVuSans.ttf"), font_size)
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
