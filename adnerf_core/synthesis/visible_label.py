"""A visible label: a short text on a dark plate in the lower left corner of every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from adnerf_core.errors import CaptionsUnavailable, LabelUnavailable
from adnerf_core.synthesis.fonts import font_for, load_font, without_boxes
from adnerf_core.synthesis.overlay import Overlay

FONT = "DejaVuSans.ttf"
"""File of the packaged font that is taken unless it lacks letters of the label."""
DEFAULT_TEXT = "AI-generated"
"""Text of the label if no other is given, or none that a font has the letters of."""
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
    """Draws one label into pictures of one size.

    Attributes:
        warnings: Why the label has another text than was asked for; empty if it has that one.
    """

    def __init__(self, label: bool | str, height: int, width: int, fonts: Path | None = None):
        """Draws the label once.

        Args:
            label: Text of the label; True: DEFAULT_TEXT.
            height: Of the pictures, px.
            width: Of the pictures, px.
            fonts: Folder with the operator's fonts, for letters that the usual font lacks.

        Raises:
        """
        edge = min(height, width)
        margin = max(2, round(MARGIN * edge))
        self.warnings: tuple[LabelUnavailable, ...] = ()
        try:
            text, font = _drawable(DEFAULT_TEXT if label is True else str(label), fonts)
        except CaptionsUnavailable as error:
            self.warnings = (LabelUnavailable(f"{error.message} The label is {DEFAULT_TEXT!r} instead."),)
            text, font = _drawable(DEFAULT_TEXT, fonts)
        plate = _plate(text, font, edge, width - 2 * margin)
        bottom, right = height - margin, margin + plate.shape[1]
        place = slice(bottom - plate.shape[0], bottom), slice(margin, right)
        overlay = Overlay(place, plate[..., :1] * plate[..., 1:], plate[..., 1:])
        self.draw, self.draw_on_planes, self._over = overlay.draw, overlay.draw_on_planes, overlay.over

    def over(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the frames with the label on them: copies of RGB or straight RGBA, and planes (see yuv.py) changed in place."""
        return map(self._over, frames)


def _drawable(text: str, fonts: Path | None) -> tuple[str, Path]:
    """Returns a text without the signs that no font has, and the file of a font with the others. Raises CaptionsUnavailable."""
    path, known = font_for(text, FONT, fonts)
    readable = without_boxes(text, known).strip()
    if not readable:
        raise CaptionsUnavailable("No font of the worker has the signs of the label.")
    return readable, path


def _plate(text: str, file: Path, size: int, max_width: int) -> Float[np.ndarray, "rows cols 2"]:
    """Draws the text on its plate, at most `max_width` px wide; returns brightness and opacity, 0..1."""
    font_size = max(MIN_TEXT_PX, TEXT_HEIGHT * size) * SUPERSAMPLING
    font = load_font(file, font_size)
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
