"""Pictures as planes: colours as ffmpeg converts them, and changes in place."""

import numpy as np
import pytest

from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.video_formats import FOOTAGE

HEIGHT, WIDTH = 54, 32
"""Half the height is odd, so a plane of colour does not fill whole rows of the array."""
WHOLE = (slice(0, HEIGHT), slice(0, WIDTH))


def smooth_picture() -> np.ndarray:
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([40 + 3 * rows, 220 - 4 * cols, 60 + rows + 2 * cols], -1).astype(np.uint8)


@pytest.fixture
def picture(tmp_path):
    ffmpeg.write_video(tmp_path / "footage.mp4", [smooth_picture()], container=FOOTAGE)
    ((_, planes),) = FootageReader(tmp_path / "footage.mp4", WIDTH, HEIGHT, 1).read([0], planar=True)
    return planes


def test_planes_have_the_colours_that_were_filmed(picture):
    assert picture.shape == (HEIGHT * 3 // 2, WIDTH)
    assert [plane.shape for plane in yuv.planes(picture)] == [
        (HEIGHT, WIDTH),
        (HEIGHT // 2, WIDTH // 2),
        (HEIGHT // 2, WIDTH // 2),
    ]
    assert np.abs(yuv.to_rgb(picture, WHOLE) - smooth_picture()).mean() < 2.5


def test_a_part_has_the_colours_of_the_whole(picture):
    part = (slice(10, 40), slice(8, 24))
    inner = yuv.to_rgb(picture, WHOLE)[part][2:-2, 2:-2]
    assert np.abs(yuv.to_rgb(picture, part)[2:-2, 2:-2] - inner).max() < 1e-3


def test_a_change_is_added_inside_the_box_alone(picture):
    before, box = picture.copy(), (slice(12, 40), slice(6, 26))
    yuv.add_rgb(picture, box, np.broadcast_to(np.float32([20, -10, 30]), (28, 20, 3)).copy())
    changed = yuv.to_rgb(picture, WHOLE) - yuv.to_rgb(before, WHOLE)
    assert np.abs(changed[box][4:-4, 4:-4] - (20, -10, 30)).max() < 2.5
    for plane, old, part in zip(
        yuv.planes(picture), yuv.planes(before), (box, yuv.halved(box), yuv.halved(box)), strict=True
    ):
        outside = np.ones(plane.shape, bool)
        outside[part] = False
        assert np.array_equal(plane[outside], old[outside])


def test_a_video_of_planes_is_one_of_the_same_colours(tmp_path, picture):
    ffmpeg.write_video(tmp_path / "planes.mp4", [picture] * 3)
    read = next(ffmpeg.read_frames(tmp_path / "planes.mp4"))
    assert read.shape == (HEIGHT, WIDTH, 3) and np.abs(read - yuv.to_rgb(picture, WHOLE)).mean() < 3
