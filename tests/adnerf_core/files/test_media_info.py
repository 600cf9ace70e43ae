"""What probe() says about files: streams, sizes, durations, and what is no media file."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from adnerf_core.errors import NotMedia, NoVideo
from adnerf_core.files import ffmpeg
from adnerf_core.files.stream_description import parse_description
from tests.adnerf_core.files.clock import clip, run_ffmpeg


def test_rotation_is_applied(tmp_path):
    flat, turned = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "color=black:s=64x48:d=1,drawbox=0:0:16:16:white:fill", "-pix_fmt", "yuv420p", flat)
    run_ffmpeg("-display_rotation", "-90", "-i", flat, "-c", "copy", turned)
    info = ffmpeg.probe(turned)
    assert (info.width, info.height) == (48, 64)
    frame = next(ffmpeg.read_frames(turned))
    assert frame.shape == (64, 48, 3)
    assert frame[4, 44].min() > 200 and frame[4, 4].max() < 50  # clockwise: top left comes to the top right


def test_pixels_become_square(tmp_path):
    path = clip(tmp_path / "wide.mp4", "-vf", "setsar=2", "-pix_fmt", "yuv420p")
    info = ffmpeg.probe(path)
    assert (info.width, info.height) == (128, 48)
    assert next(ffmpeg.read_frames(path)).shape == (48, 128, 3)


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.mp4", ["-pix_fmt", "yuv420p"]),
        ("a.mkv", ["-c:v", "libx264"]),
        ("a.webm", ["-c:v", "libvpx", "-c:a", "libopus"]),
        ("a.avi", ["-c:v", "mjpeg", "-c:a", "pcm_s16le"]),
    ],
)
def test_pictures_are_counted_whatever_their_timestamps(tmp_path, name, codecs):
    path = clip(tmp_path / name, *codecs, "-vf", "setpts='PTS+gt(N,9)*60/TB'", "-fps_mode", "vfr")
    info = ffmpeg.probe(path)
    assert (info.pictures, info.duration_s) == (50, pytest.approx(62, abs=0.1))
    assert ffmpeg.probe(clip(tmp_path / "sound.wav", video=False)).pictures == 0


def test_files_that_are_no_media_are_refused(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello, this is no video\n" * 99)
    (tmp_path / "text.mp3").write_text("hello, this is no sound\n" * 99)
    (tmp_path / "text.aac").write_text("hello, this is no sound\n" * 99)
    cv2.imwrite(str(tmp_path / "picture.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "picture.mp4").write_bytes((tmp_path / "picture.png").read_bytes())
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    for path in [*tmp_path.iterdir(), tmp_path, tmp_path / "missing.mp4"]:
        with pytest.raises(NotMedia) as caught:
            ffmpeg.probe(path)
        assert caught.value.code == "not_media" and str(tmp_path) not in caught.value.message and caught.value.remedy


def test_a_cover_picture_is_no_video(tmp_path):
    cv2.imwrite(str(tmp_path / "cover.jpg"), np.zeros((64, 64, 3), np.uint8))
    song = clip(tmp_path / "song.mp3", video=False)
    path = tmp_path / "covered.mp3"
    run_ffmpeg(
        "-i",
        song,
        "-i",
        tmp_path / "cover.jpg",
        "-map",
        "0",
        "-map",
        "1",
        "-c",
        "copy",
        "-disposition:v",
        "attached_pic",
        path,
    )
    assert not ffmpeg.probe(path).has_video and ffmpeg.probe(path).has_audio
    with pytest.raises(NoVideo):
        next(ffmpeg.read_frames(path))


def test_slides_beside_a_camera_are_not_the_film(tmp_path):
    path = tmp_path / "two.mkv"
    slides, camera = "testsrc=s=320x240:r=1:d=4", "testsrc=s=96x64:r=25:d=4"
    run_ffmpeg(*f"-f lavfi -i {slides} -f lavfi -i {camera} -map 0 -map 1 -c:v mpeg4".split(), path)
    info = ffmpeg.probe(path)
    assert (info.video_stream, info.width, info.pictures) == (1, 96, 100)


def test_titles_are_not_taken_for_what_ffmpeg_says_of_a_stream():
    line = "  Stream #0:0: Video: h264, yuv420p(progressive), 64x48, 25 fps, 25 tbr\n    Metadata:\n      title: rotation of 90.00 degrees\n"
    side = "    Side data:\n      displaymatrix: rotation of -90.00 degrees\n"
    log = "Input #0, mov,mp4, from 'a':\n  Duration: 00:00:02.00, start: 0.000000\n" + line
    assert [parse_description(text).videos[0].width for text in (log, log + side)] == [64, 48]


def test_an_mp4_that_cannot_be_read_is_refused_with_the_reason(tmp_path):
    path = clip(tmp_path / "a.mp4", "-pix_fmt", "yuv420p")
    data = path.read_bytes()
    cut, locked = tmp_path / "cut.mp4", tmp_path / "locked.mp4"
    cut.write_bytes(data[: len(data) // 2])  # the index comes last
    locked.write_bytes(data.replace(b"mp4a\0\0\0\0", b"enca\0\0\0\0"))
    for file, words, remedy in ((cut, "no index", "whole file"), (locked, "protected", "without protection")):
        with pytest.raises(NotMedia, match=words) as caught:
            ffmpeg.probe(file)
        assert remedy in caught.value.remedy
