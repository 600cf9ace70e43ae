"""The check of a file's first bytes refuses what certainly is no media, and nothing that could be."""

from __future__ import annotations

import subprocess

import pytest

from adnerf_core.errors import NotMedia
from adnerf_core.files import ffmpeg
from api.problems.problems import Problem
from api.requests import file_type

REST = bytes(range(256)) * 15

REFUSED = {
    "a PNG": b"\x89PNG\r\n\x1a\n",
    "a HEIC photograph named .mp4": b"\0\0\0\x24ftypheic\0\0\0\0mif1heic",
    "an AVIF": b"\0\0\0\x20ftypavif\0\0\0\0",
    "a WebP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "an animated GIF": b"GIF89a\0\0\0\0\0\0\0!\xff\x0bNETSCAPE2.0",
    "a Flash video": b"FLV\x01\x05",
    "a program stream": b"\0\0\1\xba\x44",
    "an MXF": b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",
    "bare H.264": b"\0\0\0\1\x67\x42\xc0\x1e",
    "a ZIP": b"PK\x03\x04",
    "an Office document": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
    "a database": b"SQLite format 3\0",
    "a TIFF": b"II*\0",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_types_are_refused_by_their_content(name):
    with pytest.raises(Problem) as refused:
        file_type.require_media(REFUSED[name] + REST)
    assert refused.value.code == "not_media"


@pytest.mark.parametrize("name", REFUSED)
def test_the_core_refuses_them_with_the_same_words(tmp_path, name):
    (tmp_path / "a.mp4").write_bytes(REFUSED[name] + REST)
    with pytest.raises(NotMedia) as by_core:
        ffmpeg.probe(tmp_path / "a.mp4")
    with pytest.raises(Problem) as by_api:
        file_type.require_media(REFUSED[name] + REST)
    assert by_api.value.detail == f"{by_core.value.message} {by_core.value.remedy}"


@pytest.mark.parametrize(
    "text",
    [
        b"#EXTM3U\n#EXT-X-VERSION:3\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\xef\xbb\xbf<svg>",
        b"\xff\xfe<\0s\0",
    ],
)
def test_text_is_refused_whatever_its_name(text):
    with pytest.raises(Problem):
        file_type.require_media(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c:v", "libx264", "a.mp4"),
        ("-c:v", "libx264", "a.mov"),
        ("-c:v", "libvpx-vp9", "a.webm"),
        ("-c:v", "libx264", "a.mkv"),
        ("-c:v", "mpeg4", "a.avi"),
        ("-vn", "a.wav"),
        ("-vn", "a.mp3"),
        ("-vn", "-id3v2_version", "0", "-write_xing", "0", "b.mp3"),
        ("-vn", "a.m4a"),
        ("-vn", "a.flac"),
        ("-vn", "a.ogg"),
        ("-vn", "a.aac"),
        ("-vn", "a.aiff"),
        ("-vn", "a.caf"),
        ("-vn", "a.au"),
        ("-vn", "a.w64"),
        ("-vn", "a.ac3"),
        ("-vn", "a.wma"),
        ("-c:v", "libx264", "a.ts"),
        ("-c:v", "libx264", "-mpegts_m2ts_mode", "1", "a.mts"),
        ("-c:v", "wmv2", "a.wmv"),
    ],
    ids=lambda arguments: arguments[-1],
)
def test_files_of_the_accepted_kinds_pass_as_ffmpeg_writes_them(tmp_path, arguments):
    path = tmp_path / arguments[-1]
    source = ["-f", "lavfi", "-i", "testsrc=size=64x64:rate=5:duration=0.4", "-f", "lavfi", "-i", "sine=duration=0.4"]
    command = [ffmpeg.ffmpeg_path(), "-loglevel", "error", *source, "-strict", "-2", *arguments[:-1], str(path)]
    subprocess.run(command, check=True)
    file_type.require_media(path.read_bytes()[:4096])


def test_an_image_is_recognized_by_its_content():
    for head in (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"RIFF\0\0\0\0WEBP"):
        file_type.require_image(head + REST)
    for head in (b"GIF89a", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x18ftypmp42", b"<svg", b""):
        with pytest.raises(Problem) as refused:
            file_type.require_image(head)
        assert refused.value.code == "not_an_image"
