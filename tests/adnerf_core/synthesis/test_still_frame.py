"""A still is the first frame of the video with the same options."""

import cv2
import numpy as np
import pytest

from adnerf_core.config import SAMPLE_RATE, Background, RenderOptions
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import decode_rgb
from adnerf_core.synthesis import still_frame
from adnerf_core.synthesis.render import render
from adnerf_core.synthesis.still_frame import render_still


@pytest.mark.parametrize(
    "options",
    [
        RenderOptions(label=True),
        RenderOptions(aspect="9:16", pose="still", seed=3),
        RenderOptions(background=Background(kind="color", color="#204060"), label="Ann"),
    ],
)
def test_a_still_is_the_first_frame_of_the_video(toy_run, tmp_path, options):
    ffmpeg.write_wav(tmp_path / "silence.wav", np.zeros(SAMPLE_RATE // 2, np.float32))
    render(toy_run, tmp_path / "silence.wav", tmp_path / "out.mp4", options)
    first = next(iter(ffmpeg.read_frames(tmp_path / "out.mp4")))
    still = decode_rgb(render_still(toy_run, options))
    assert still.shape == first.shape
    assert np.abs(still.astype(float) - first).mean() < 4


def test_a_picture_stands_behind_and_chequers_where_nothing_does(toy_run, tmp_path):
    cv2.imwrite(str(tmp_path / "red.png"), np.full((9, 9, 3), (0, 0, 255), np.uint8))
    behind = RenderOptions(size=64, background=Background(kind="image"))
    still = decode_rgb(render_still(toy_run, behind, background=tmp_path / "red.png"))
    assert still.shape == (64, 64, 3)
    assert still[2:6, 2:6].mean((0, 1)) == pytest.approx([254, 0, 0], abs=12)
    nothing = RenderOptions(size=64, background=Background(kind="transparent"), format="webm")
    clear = decode_rgb(render_still(toy_run, nothing))
    corner = clear[:24, :24].astype(int).mean(-1)
    assert [corner[3:9, 3:9].mean(), corner[3:9, 15:21].mean()] == pytest.approx(still_frame.SHADES, abs=12)
