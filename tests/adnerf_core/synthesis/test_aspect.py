"""Another shape: the frame is cut around the face, or stands whole between its sides; colours and planes agree."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core.config import RenderOptions
from adnerf_core.files import yuv
from adnerf_core.synthesis.aspect import RATIOS, Reframing

HEIGHT, WIDTH = 180, 320
FACE = (60.0, 250.0)
SHAPES = [shape for shape in RATIOS]


def frame(channels=3):
    """Grey, with a bright square where the face is."""
    picture = np.full((HEIGHT, WIDTH, channels), 90, np.uint8)
    picture[50:70, 240:260] = 250
    return picture


def planes_of(picture):
    flat = picture[..., :3].reshape(-1, 3) @ yuv.RGB_TO_YUV.T + yuv.YUV_BLACK
    y, u, v = (np.rint(each).astype(np.uint8).reshape(picture.shape[:2]) for each in flat.T)
    return np.concatenate([y.reshape(-1), u[::2, ::2].reshape(-1), v[::2, ::2].reshape(-1)]).reshape(
        -1, picture.shape[1]
    )


def reframed(picture, height=HEIGHT, width=WIDTH, face=FACE, size=None, **options):
    change = Reframing(RenderOptions(**options), height, width, face, size)
    (result,) = change.apply([picture])
    return change, result


@pytest.mark.parametrize("aspect", SHAPES)
@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("size", [None, 256])
def test_the_shape_is_the_one_asked_for_and_the_face_is_in_it(aspect, fit, size):
    change, result = reframed(frame(), aspect=aspect, fit=fit, size=size)
    assert result.shape == (change.height, change.width, 3) and result.dtype == np.uint8
    assert change.width / change.height == pytest.approx(RATIOS[aspect], rel=0.02)
    assert change.height % 2 == change.width % 2 == 0
    assert max(change.height, change.width) == (size or max(change.height, change.width))
    assert (result > 200).all(-1).any(), "the face is gone"


def test_cover_keeps_the_pixels_and_contain_the_whole_frame():
    change, result = reframed(frame(), aspect="9:16")
    assert (change.height, change.width) == (180, 102) and set(np.unique(result)) == {90, 250}
    change, result = reframed(frame(), aspect="9:16", fit="contain", sides="#102030")
    assert (change.height, change.width) == (320, 180) and tuple(result[0, 0]) == (16, 32, 48)
    rows = np.flatnonzero((result[:, 0] != (16, 32, 48)).any(-1))
    assert len(rows) == pytest.approx(180 * 180 / 320, abs=2) and rows[0] == pytest.approx((320 - 102) / 2, abs=2)


def test_blurred_sides_are_darker_than_the_frame():
    _, result = reframed(frame(), aspect="1:1", fit="contain")
    assert 50 < result[2].mean() < 85 < result[160].mean()


@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("sides", ["blur", "#c02040"])
def test_planes_show_what_colours_show(fit, sides):
    options = {"aspect": "4:5", "fit": fit, "sides": sides}
    change, colours = reframed(frame(), **options)
    _, picture = reframed(planes_of(frame()), **options)
    assert picture.shape == (change.height * 3 // 2, change.width)
    shown = yuv.to_rgb(picture, (slice(0, change.height), slice(0, change.width)))
    assert np.abs(shown - colours).mean() < 3


def test_a_transparent_portrait_keeps_its_transparency():
    picture = frame(4)
    picture[..., 3] = 0
    picture[40:80, 230:270, 3] = 255
    _, result = reframed(picture, aspect="9:16")
    assert result.shape[2] == 4 and set(np.unique(result[..., 3])) == {0, 255}


def test_without_a_change_of_shape_nothing_is_cut():
    _, result = reframed(frame(), aspect="16:9")
    assert (result == frame()).all()
