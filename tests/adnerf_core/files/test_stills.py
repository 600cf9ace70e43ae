"""Thumbnails and clips of videos are small, in the video's shape, and silent."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adnerf_core.errors import NotMedia
from adnerf_core.files import ffmpeg
from adnerf_core.files.stills import write_clip, write_thumbnail


@pytest.fixture
def video(tmp_path):
    """Four seconds that become brighter, upright, with sound."""
    sound = tmp_path / "a.wav"
    ffmpeg.write_wav(sound, np.sin(np.arange(64_000) / 5).astype(np.float32) * 0.1)
    frames = (np.full((640, 360, 3), 2 * k, np.uint8) for k in range(100))
    ffmpeg.write_video(tmp_path / "v.mp4", frames, audio=sound)
    return tmp_path / "v.mp4"


def test_a_thumbnail_is_a_small_jpeg_of_a_third_of_the_video(video, tmp_path):
    write_thumbnail(video, tmp_path / "t.jpg")
    picture = cv2.imread(str(tmp_path / "t.jpg"))
    assert picture.shape == (480, 270, 3) and abs(picture.mean() - 66) < 6
    assert (tmp_path / "t.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_a_clip_is_short_small_and_silent(video, tmp_path):
    write_clip(video, tmp_path / "c.mp4")
    info = ffmpeg.probe(tmp_path / "c.mp4")
    assert (info.width, info.height, info.has_audio) == (180, 320, False)
    assert info.duration_s == pytest.approx(3.0, abs=0.1) and (tmp_path / "c.mp4").stat().st_size < 60_000


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"text")
    for write in (write_thumbnail, write_clip):
        with pytest.raises(NotMedia):
            write(tmp_path / "x", tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]
