"""Footage that is kept is read frame by frame in any order."""

from itertools import chain, islice, repeat

import numpy as np
import pytest

from adnerf_core.errors import NotMedia, NotReady
from adnerf_core.files import ffmpeg
from adnerf_core.files.footage_reader import BLOCK_FRAMES, FootageReader
from adnerf_core.files.video_formats import FOOTAGE
from tests.adnerf_core.ffmpeg_runs import record_runs

FRAMES, WIDTH, HEIGHT = 77, 64, 48


def number_in(frame: np.ndarray) -> int:
    """The number that is painted into a frame as eight bars, black or white."""
    bits = frame[:, :, 1].reshape(HEIGHT, 8, -1).mean((0, 2)) > 128
    return int(np.packbits(bits)[0])


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    path = tmp_path_factory.mktemp("footage") / "footage.mp4"
    bits = np.unpackbits(np.arange(FRAMES, dtype=np.uint8)[:, None], axis=1)
    rows = np.repeat(bits * np.uint8(255), WIDTH // 8, axis=1)
    ffmpeg.write_video(path, np.broadcast_to(rows[:, None, :, None], (FRAMES, HEIGHT, WIDTH, 3)), container=FOOTAGE)
    return path


@pytest.fixture
def reader(footage):
    return FootageReader(footage, WIDTH, HEIGHT, FRAMES)


ORDERS = {
    "forwards": range(FRAMES),
    "backwards": range(FRAMES - 1, -1, -1),
    "to and fro": [*range(10, 60), *range(58, 30, -1), *range(32, 40)],
    "around a border": [*([23, 24, 25, 24] * 20)],
    "jumps": [70, 3, 50, 3, 76, 0],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_every_order_shows_the_right_frames(reader, order):
    read = list(reader.read(order))
    assert [k for k, _ in read] == list(order)
    assert [number_in(frame) for _, frame in read] == list(order)


def test_an_endless_order_is_read_as_it_is_needed(reader, monkeypatch):
    """A direction that changes around the border of two blocks decodes each of them once."""
    commands = record_runs(monkeypatch)
    border = BLOCK_FRAMES
    order = chain.from_iterable(repeat([*range(border - 3, border + 3), *range(border + 3, border - 3, -1)]))
    numbers = [number_in(frame) for _, frame in islice(reader.read(order), 200)]
    assert set(numbers) == set(range(border - 3, border + 4))
    assert len(commands) == 2


def test_a_frame_may_be_painted_over(reader):
    painted = next(reader.read([5, 5]))[1]
    frames = reader.read([5, 5])
    next(frames)[1][:] = 0
    np.testing.assert_array_equal(next(frames)[1], painted)


def test_frames_are_scaled(reader):
    ((_, frame),) = reader.read([9], size=(32, 24))
    assert frame.shape == (24, 32, 3)
    assert abs(frame.astype(int) - next(reader.read([9]))[1][::2, ::2]).mean() < 20


def test_missing_or_short_footage_is_reported(footage, tmp_path):
    with pytest.raises(NotMedia):
        list(FootageReader(tmp_path / "none.mp4", WIDTH, HEIGHT, 5).read([0]))
    with pytest.raises(NotReady, match="does not hold its frames"):
        list(FootageReader(footage, WIDTH, HEIGHT, 200).read([150]))


@pytest.mark.parametrize("frame", [-1, FRAMES, FRAMES + BLOCK_FRAMES])
def test_a_frame_beyond_the_footage_is_refused(reader, frame):
    with pytest.raises(ValueError, match=f"frame {frame} is outside the footage of {FRAMES} frames"):
        list(reader.read([0, frame]))


def test_the_blocks_with_which_it_began_are_kept(reader, monkeypatch):
    commands = record_runs(monkeypatch)
    for order in (range(30, 34), range(33, 29, -1), [31]):
        frames = list(reader.read(order))
        assert [number_in(frame) for _, frame in frames] == list(order)
        frames[0][1][:] = 0
    assert len(commands) == 1
    for size in ((32, 24), None, (32, 24), (16, 12), None):
        next(reader.read([30], size))
    assert len(commands) == 4, "of the three sizes two are kept"
