"""The visible label is in its corner, readable, and inside the picture at every size, on transparent pictures too."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from adnerf_core.config import RenderOptions
from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.ffmpeg import write_wav
from adnerf_core.synthesis import fonts
from adnerf_core.synthesis.render import render
from adnerf_core.synthesis.visible_label import DEFAULT_TEXT, VisibleLabel
from tests.adnerf_core.synthesis.test_burnt_captions import write_font


def drawn(text, size, color=(90, 140, 60), channels=3):
    frame = np.full((size, size, channels), (*color, 0)[:channels], np.uint8)
    return frame, VisibleLabel(text, size, size).draw(frame)


@pytest.mark.parametrize("size", [64, 128, 256, 512, 1024])
def test_the_label_is_light_text_on_a_dark_plate_in_the_lower_left_corner(size):
    frame, labelled = drawn(DEFAULT_TEXT, size)
    rows, cols = np.nonzero((labelled != frame).any(-1))
    assert rows.min() > 0.7 * size and rows.max() < size - 1
    assert cols.min() >= 1 and cols.max() < size - 1
    assert rows.max() - rows.min() < max(22, 0.08 * size)
    plate = labelled[rows.min() : rows.max() + 1, cols.min() : cols.max() + 1].mean(-1)
    assert plate.max() > 200 and np.median(plate) < 60  # light text on a dark plate
    assert (frame == (90, 140, 60)).all()  # the input is not changed


def test_another_text_makes_another_picture():
    assert (drawn("AI-generated", 256)[1] != drawn("AI-generaled", 256)[1]).any()
    assert (drawn("Создано ИИ", 256)[1] != drawn("СоздаЖо ИИ", 256)[1]).any()  # letters, not the box for missing ones


def test_letters_come_from_other_fonts_and_never_become_boxes(tmp_path, monkeypatch):
    monkeypatch.setattr(fonts, "SYSTEM_FOLDERS", ())
    frame = np.zeros((256, 256, 3), np.uint8)
    usual = VisibleLabel(True, 256, 256).draw(frame)
    without = VisibleLabel("由人工智能生成", 256, 256, tmp_path)
    assert [error.code for error in without.warnings] == ["label_unavailable"] and "AI-generated" in str(
        without.warnings[0]
    )
    assert (without.draw(frame) == usual).all()
    write_font(tmp_path / "han.ttf", "由人工智能生成")
    drawn_by_it = VisibleLabel("由人工智能生成🎉", 256, 256, tmp_path)
    assert not drawn_by_it.warnings
    light = (drawn_by_it.draw(frame) > 150).all(-1).any(0).astype(int)
    assert (np.diff(light) == 1).sum() == 7, "a bar for each letter"
    assert [error.code for error in VisibleLabel("🎉", 256, 256).warnings] == ["label_unavailable"]


@pytest.mark.parametrize("text", ["W" * 40, "i"])
def test_long_and_short_texts_stay_inside(text):
    frame, labelled = drawn(text, 128)
    cols = np.nonzero((labelled != frame).any((0, 2)))[0]
    assert cols.min() >= 1 and cols.max() < 127


@pytest.mark.parametrize(("height", "width"), [(180, 320), (320, 180)])
def test_the_label_on_planes_is_that_on_rgb(height, width):
    label = VisibleLabel(True, height, width)
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    whole = (slice(0, height), slice(0, width))
    before = yuv.to_rgb(planes, whole)
    (labelled,) = label.over([planes])
    expected = label.draw(before.clip(0, 255).round().astype(np.uint8)).astype(float)
    assert np.abs(yuv.to_rgb(labelled, whole) - expected).max() < 4
    rows, cols = np.nonzero(np.abs(expected - before).max(-1) > 5)
    assert rows.min() > height - 40 and cols.max() < width - 1


def test_the_label_is_opaque_on_a_transparent_picture():
    _, labelled = drawn(DEFAULT_TEXT, 128, channels=4)
    opacity = labelled[..., 3]
    assert opacity.max() > 240 and np.median(opacity[opacity > 0]) > 120
    assert (opacity[: 128 // 2] == 0).all()


def test_the_option_takes_a_boolean_or_a_text():
    assert RenderOptions().label is False
    assert RenderOptions(label=True).label is True
    assert RenderOptions(label="made by a model").label == "made by a model"
    for bad in ("", "  ", "x" * 41, "a\nb", 5, None):
        with pytest.raises(ValidationError):
            RenderOptions(label=bad)


def test_a_rendered_video_shows_the_label(toy_run, tmp_path):
    write_wav(tmp_path / "say.wav", 0.1 * np.sin(np.arange(8000) * 0.05), 16_000)
    pictures = {}
    for label in (False, True):
        out = tmp_path / f"{label}.mp4"
        render(toy_run, tmp_path / "say.wav", out, RenderOptions(frame="portrait", size=128, label=label))
        pictures[label] = np.stack(list(ffmpeg.read_frames(out))).astype(int)
    change = np.abs(pictures[True] - pictures[False]).mean((0, 3))
    assert change[64:, :90].max() > 40
    assert change[:64].mean() < 2
