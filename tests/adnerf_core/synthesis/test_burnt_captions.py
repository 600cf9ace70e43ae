"""Captions in the picture are there while they are said, inside the picture, and legible in upright ones."""

from __future__ import annotations

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from adnerf_core.config import BurntCaptions
from adnerf_core.errors import CaptionsUnavailable
from adnerf_core.files import yuv
from adnerf_core.speech.timing import Word
from adnerf_core.synthesis import fonts
from adnerf_core.synthesis.burnt_captions import FONT, CaptionBurner
from adnerf_core.synthesis.fonts import font_for

WORDS = [
    Word(1.0, 1.5, "Hello", False),
    Word(1.5, 2.0, "everybody,", True),
    Word(2.0, 2.6, "wherever", True),
    Word(2.6, 3.0, "you", True),
]


def burnt(height, width, at_s, words=WORDS, channels=3, **style):
    """A grey frame at a time, with the captions; and the burner."""
    burner = CaptionBurner(words, 6.0, BurntCaptions(**style), height, width)
    frames = (np.full((height, width, channels), 120, np.uint8) for _ in range(round(at_s * 25) + 1))
    *_, frame = burner.over(frames)
    return frame, burner


def changed(frame):
    return np.nonzero((frame[..., :3] != 120).any(-1))


@pytest.mark.parametrize(("at_s", "shown"), [(0.9, False), (1.04, True), (2.9, True), (3.9, False)])
def test_captions_are_shown_while_they_are_said(at_s, shown):
    frame, _ = burnt(360, 640, at_s)
    assert bool(len(changed(frame)[0])) is shown


@pytest.mark.parametrize(("height", "width"), [(1280, 720), (720, 1280), (512, 512), (180, 320), (64, 64), (114, 64)])
@pytest.mark.parametrize("size", ["small", "large"])
def test_letters_are_large_enough_and_inside_the_picture(height, width, size):
    frame, burner = burnt(height, width, 1.2, size=size)
    rows, cols = changed(frame)
    margin = 0.03 * width if width > 100 else 0  # in tiny pictures the box needs the whole width
    assert cols.min() >= margin and cols.max() <= width - 1 - margin
    assert rows.max() < (0.82 if height > 1.2 * width else 0.9) * height and rows.min() > 0.4 * height
    assert burner.font_px >= (0.04 if size == "small" else 0.07) * min(height, width)
    box = frame[rows.min() : rows.max(), cols.min() : cols.max()].astype(int)
    assert box.max() > 235 and box.min() < 60  # white letters on a dark box
    assert all(len(line) <= 42 for cue in burner.cues for line in cue.text.split("\n"))


def test_upright_pictures_get_shorter_lines():
    lines = [cue.text for cue in burnt(1280, 720, 0)[1].cues]
    assert max(len(line) for text in lines for line in text.split("\n")) <= 26


@pytest.mark.parametrize(
    ("position", "part"), [("top", (0.05, 0.35)), ("middle", (0.35, 0.65)), ("bottom", (0.6, 0.9))]
)
def test_positions_colours_and_outlines(position, part):
    frame, _ = burnt(360, 640, 1.2, position=position, color="#ffcc00", box=False)
    rows, _ = changed(frame)
    assert part[0] * 360 < rows.min() and rows.max() < part[1] * 360
    assert (frame == (255, 204, 0)).all(-1).any() and (frame == 0).all(-1).any()


def test_planes_and_transparent_frames_get_the_same_captions():
    frame, burner = burnt(180, 320, 1.2)
    grey = np.full(3, 120) @ yuv.RGB_TO_YUV.T + yuv.YUV_BLACK
    planes = [np.full((270, 320), 128, np.uint8) for _ in range(31)]
    for each in planes:
        each[:180] = round(grey[0])
    *_, picture = burner.over(planes)
    shown = yuv.to_rgb(picture, (slice(0, 180), slice(0, 320)))
    assert np.abs(shown - frame).mean() < 2
    clear, _ = burnt(180, 320, 1.2, channels=4)
    assert clear.shape == (180, 320, 4)


def test_a_script_that_the_font_lacks_is_not_drawn_as_boxes(monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    with pytest.raises(CaptionsUnavailable, match="caption file"):
        burnt(360, 640, 0, words=[Word(0.0, 1.0, "你好", False)])
    burnt(360, 640, 0, words=[Word(0.0, 1.0, "Привет,", False), Word(1.0, 2.0, "Straße Ελλάδα", True)])


def write_font(path, characters):
    """Writes a font whose glyphs are all a tall bar."""
    pen = TTGlyphPen(None)
    for place in ((100, 0), (100, 800), (400, 800), (400, 0)):
        (pen.lineTo if pen.points else pen.moveTo)(place)
    pen.closePath()
    bar = pen.glyph()
    font = FontBuilder(1000)
    font.setupGlyphOrder([".notdef", "bar"])
    font.setupCharacterMap({ord(char): "bar" for char in characters})
    font.setupGlyf({".notdef": bar, "bar": bar})
    font.setupHorizontalMetrics({".notdef": (1000, 100), "bar": (1000, 100)})
    font.setupHorizontalHeader(ascent=880, descent=-120)
    font.setupNameTable({"familyName": "Bars", "styleName": "Regular"})
    font.setupPost()
    font.save(path)


def test_letters_come_from_the_operators_fonts_and_signs_without_a_glyph_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    lacking, having = tmp_path / "a-bold.ttf", tmp_path / "more" / "b.ttf"
    having.parent.mkdir()
    write_font(lacking, "你")
    write_font(having, "你好。")
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    path, known = font_for("你好。🎉\N{VARIATION SELECTOR-16}", FONT, tmp_path)
    assert path == having and {chr(code) for code in known} == set("你好。")
    said = [Word(0.0, 1.0, "你好。🎉", False), Word(2.0, 3.0, "🎉", False)]
    burner = CaptionBurner(said, 4.0, BurntCaptions(box=False), 360, 640, tmp_path)
    assert [cue.text for cue in burner.cues] == ["你好。"]
    frame = next(burner.over([np.full((360, 640, 3), 120, np.uint8)]))
    columns = (frame > 235).all(-1).any(0).astype(int)
    assert (np.diff(columns) == 1).sum() == 3, "three bars"
    with pytest.raises(CaptionsUnavailable, match="ADNERF_FONTS_DIR"):
        font_for("你\N{TAI LE LETTER KA}", FONT, tmp_path)
