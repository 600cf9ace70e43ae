"""A still is the first frame of the video with the same options."""

import shutil

import cv2
import numpy as np
import pytest

from adnerf_core.config import SAMPLE_RATE, Background, RenderOptions, ViewChange
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import decode_rgb
from adnerf_core.files.run_dir import RunDir, read_json, write_json
from adnerf_core.synthesis import still_frame
from adnerf_core.synthesis.render import face_place, render
from adnerf_core.synthesis.still_frame import render_still
from adnerf_core.synthesis.subject import load_subject


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


@pytest.mark.parametrize("shift", [-0.2, 0.2])
def test_a_cut_is_around_the_head_even_where_the_head_is_beside_the_middle(toy_run, tmp_path, shift):
    run = RunDir(shutil.copytree(toy_run.root, tmp_path / "run"))
    value = read_json(run.subject)
    camera = value["geometry"]["camera"]
    camera["center"][0] += shift * camera["width"]  # as in footage whose edge is near the head
    write_json(run.subject, value)
    subject = load_subject(run)
    options = RenderOptions(
        frame="portrait", size=96, aspect="9:16", background=Background(kind="color", color="#00ff00")
    )
    still = decode_rgb(render_still(run, options, load=lambda *_: subject)).astype(int)
    assert still.shape == (96, 54, 3)
    head = np.flatnonzero((still[24:56, :, 0] > 120).mean(0) > 0.5)  # skin, no green
    assert head.mean() == pytest.approx(27, abs=4) and len(head) > 20
    row, col = face_place(subject, options, "portrait", 100, 100)
    x, y, side = subject.playback.crop
    scale = 200 / subject.playback.height
    width = round(scale * subject.playback.width)
    place = ((y + row / 100 * side) * scale, (x + col / 100 * side) * scale)
    assert face_place(subject, options, "full", 200, width) == pytest.approx(place)
    nearer = options.model_copy(update={"view": ViewChange(zoom=1.5, x=0.1, y=-0.1)})
    moved = face_place(subject, nearer, "portrait", 100, 100)
    assert moved == pytest.approx((1.5 * (row - 50) + 40, 1.5 * (col - 50) + 60))
