"""Headers read without ffmpeg say what ffmpeg finds."""

from __future__ import annotations

import io
import random
import struct

import pytest

from adnerf_core.files.media_headers import MediaHeaders, read_headers
from adnerf_core.files.media_info import probe
from tests.adnerf_core.files.clock import clip

FRAGMENTS = ("-movflags", "frag_keyframe+empty_moov", "-g", "10", "-pix_fmt", "yuv420p")
VP8 = ("-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8")
LIVE = (*VP8, "-f", "webm", "-live", "1")  # states no lengths, as browsers record
KINDS = {
    "plain.mp4": (("-pix_fmt", "yuv420p"), {}),
    "fast.mov": (("-movflags", "+faststart"), {}),
    "fragments.mp4": (FRAGMENTS, {}),
    "whole.mkv": ((), {}),
    "live.webm": (LIVE, {}),
    "silent.mp4": ((), {"audio": False}),
    "unseen.webm": (("-f", "webm"), {"video": False}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("headers")
    return {name: clip(folder / name, *options, **tracks) for name, (options, tracks) in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_the_headers_say_what_ffmpeg_finds(files, name):
    found = probe(files[name])
    with files[name].open("rb") as file:
        headers = read_headers(file)
    assert (headers.has_video, headers.has_audio) == (found.has_video, found.has_audio)
    assert headers.duration_s == pytest.approx(found.duration_s, abs=0.06), "a picture, whose end WebM does not say"


def test_whatever_arrives_is_read_or_refused(files):
    draw = random.Random(1)
    whole = [path.read_bytes() for path in files.values()]
    for content in whole:
        for _ in range(60):
            changed = bytearray(content[: draw.randrange(len(content))] if draw.random() < 0.3 else content)
            for _ in range(draw.randrange(20) if changed else 0):
                changed[draw.randrange(min(len(changed), 2000))] = draw.randrange(256)
            assert isinstance(read_headers(io.BytesIO(changed)), MediaHeaders | None)
    for nothing in (b"", b"RIFF\x24\x20\x00\x00WAVE", b"\x1a\x45\xdf\xa3" + bytes(100), bytes(4) + b"ftyp" + bytes(9)):
        assert read_headers(io.BytesIO(nothing)) is None


def test_the_work_has_a_bound():
    many = io.BytesIO(b"\x00\x00\x00\x08ftyp" + b"\x00\x00\x00\x08free" * 200_000)
    assert read_headers(many) is None


def test_so_has_the_number_of_packets(files):
    whole, count = files["fragments.mp4"].read_bytes(), 99_990
    assert read_headers(io.BytesIO(whole)) is not None
    table = struct.pack(">I4sII", 16 + 4 * count, b"trun", 0x100, count) + bytes(4 * count)
    assert read_headers(io.BytesIO(whole + table)) is None
