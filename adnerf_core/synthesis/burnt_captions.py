"""Captions that are drawn into the frames, in letters that can be read on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from adnerf_core.config import FPS, BurntCaptions
from adnerf_core.speech.captions import Cue, make_cues
from adnerf_core.speech.timing import Word
from adnerf_core.synthesis.fonts import font_for, load_font, without_boxes
from adnerf_core.synthesis.overlay import Overlay

FONT = "DejaVuSans-Bold.ttf"
"""File of the packaged font that is taken unless it lacks letters of the captions."""
TEXT_HEIGHT = {"small": 0.042, "medium": 0.055, "large": 0.072}
"""Font size as a share of the picture's shorter edge. On a phone held upright, 5.5 % of the width are 4 mm."""
MIN_TEXT_PX = 9
"""Smallest font size, px."""
COLUMN = 0.64
"""Mean width of a bold letter, in font sizes."""
WIDTH = 0.88
"""Share of the picture's width that lines may take."""
MARGIN = {False: 0.12, True: 0.2}
"""Distance from the upper or lower edge as a share of the height: above the visible label; and in upright pictures above what players
put over them."""
BOX_OPACITY, OUTLINE = 0.62, 0.09
"""Opacity of the box; width of the outline in font sizes, where there is no box."""
PADDING, LINE_HEIGHT = 0.35, 1.22
"""Space around the text, and height of a line, in font sizes."""


class CaptionBurner:
    """Draws captions into frames of one size."""

    def __init__(
        self,
        words: Sequence[Word],
        duration_s: float,
        style: BurntCaptions,
        height: int,
        width: int,
        fonts: Path | None = None,
    ):
        """Prepares the captions.

        Args:
            words: what is said, with its times.
            duration_s: of the video.
            style: how the captions look.
            height: of the frames, px.
            width: of the frames, px.
            fonts: folder with the operator's fonts.

        Raises:
            CaptionsUnavailable: no font has the letters.
        """
        self.style, self.height, self.width = style, height, width
        self.font_px = max(MIN_TEXT_PX, TEXT_HEIGHT[style.size] * min(height, width))
        line_width = max(8, int(WIDTH * width / (COLUMN * self.font_px)))
        cues = make_cues(words, duration_s, line_width)
        self._font, known = font_for("".join(cue.text for cue in cues), FONT, fonts)
        readable = (cue._replace(text=without_boxes(cue.text, known)) for cue in cues)
        self.cues = [cue for cue in readable if cue.text.strip()]
        self._drawn: tuple[Cue | None, Overlay | None] = (None, None)

    def over(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the frames with the captions of their times: copies of RGB or straight RGBA; planes (see yuv.py) change in place."""
        cues = iter(self.cues)
        cue = next(cues, None)
        for number, frame in enumerate(frames):
            time = number / FPS
            while cue is not None and time >= cue.end_s:
                cue = next(cues, None)
            yield self._overlay(cue).over(frame) if cue is not None and time >= cue.start_s else frame

    def _overlay(self, cue: Cue) -> Overlay:
        """Draws a caption; the last one is kept for the next frames."""
        if self._drawn[0] is not cue:
            self._drawn = cue, self._draw(cue.text.split("\n"))
        return self._drawn[1]

    def _draw(self, lines: list[str]) -> Overlay:
        font_px, style = self.font_px, self.style
        font = load_font(self._font, font_px)
        widest = max(font.getlength(line) for line in lines)
        if widest > WIDTH * self.width:  # wide letters: smaller ones
            font_px *= WIDTH * self.width / widest
            font = load_font(self._font, font_px)
        padding, line_height = PADDING * font_px, LINE_HEIGHT * font_px
        width = min(self.width, int(max(font.getlength(line) for line in lines) + 2 * padding) + 2)
        height = min(self.height, int(len(lines) * line_height + padding) + 2)
        picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
        draw = ImageDraw.Draw(picture)
        if style.box:
            opacity = round(255 * BOX_OPACITY)
            draw.rounded_rectangle((0, 0, width - 1, height - 1), 0.25 * font_px, fill=(0, 0, 0, opacity))
        stroke = 0 if style.box else max(1, round(OUTLINE * font_px))
        text = Image.new("RGBA", picture.size, (0, 0, 0, 0))
        pen = ImageDraw.Draw(text)
        for k, line in enumerate(lines):
            middle = padding / 2 + (k + 0.5) * line_height + 1
            pen.text(
                (width / 2, middle),
                line,
                font=font,
                fill=style.color,
                anchor="mm",
                stroke_width=stroke,
                stroke_fill="#000000",
            )
        picture.alpha_composite(text)
        return self._placed(np.asarray(picture, np.float32) / 255)

    def _placed(self, image: np.ndarray) -> Overlay:
        rows, cols = image.shape[:2]
        margin = round(MARGIN[self.height > 1.2 * self.width] * self.height)
        tops = {"top": margin, "middle": (self.height - rows) // 2, "bottom": self.height - margin - rows}
        top = min(max(0, tops[self.style.position]), self.height - rows)
        left = (self.width - cols) // 2
        place = slice(top, top + rows), slice(left, left + cols)
        return Overlay(place, image[..., :3] * image[..., 3:], image[..., 3:])
