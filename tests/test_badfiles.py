"""A sample of the bad files (benchmarks/badfiles) against the core: refused with a reason, and nothing else is read."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from adnerf_core.errors import AdnerfError
from adnerf_core.files import ffmpeg
from adnerf_core.files.images import read_background_image
from benchmarks.badfiles import good, handmade, spoil
from benchmarks.badfiles.__main__ import hide
from benchmarks.badfiles.watch import Canaries, is_ffmpeg, peak_mib

EVERY = 4


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    return hide(tmp_path_factory.mktemp("bad") / "hidden")


@pytest.fixture
def canaries(secrets):
    with closing(Canaries(secrets)) as canaries:
        yield canaries


def use(path) -> str:
    """What becomes of a file that is used in every way in which a job uses it: `used`, or the code of its refusal."""
    try:
        if ffmpeg.probe(path).has_audio:
            assert sum(len(piece) for piece in ffmpeg.stream_audio(path, duration_s=20)) <= 20 * 16000
        for number, frame in enumerate(ffmpeg.read_frames(path, size=(32, 24), duration_s=2)):
            assert frame.shape == (24, 32, 3) and number < 50
    except AdnerfError as refusal:
        return refusal.code
    return "used"


def test_boxes_that_lie_are_refused_or_bridged(tmp_path, secrets, canaries):
    path, film = tmp_path / "a.mp4", good.film("a.mp4", *good.H264)
    outcomes = {}
    for name, content in [*spoil.mp4(film, str(secrets[0])), *spoil.flips(film, 3, 4), *spoil.cuts(film)][::EVERY]:
        path.write_bytes(content)
        outcomes[name] = use(path)
    assert not canaries.disturbed()
    assert len(outcomes) >= 12
    assert set(outcomes.values()) <= {"used", "not_media", "no_video", "no_audio", "media_too_large", "media_too_long"}
    path.write_bytes(film)
    assert use(path) == "used"


def test_lists_lead_nowhere(tmp_path, secrets, canaries):
    path, codes = tmp_path / "a.mp4", set()
    for _, content in [*handmade.lists(str(secrets[0]), canaries.address)][1::EVERY]:  # those that pass the first look
        path.write_bytes(content)
        codes.add(use(path))
    assert codes == {"not_media"}
    assert not canaries.disturbed()


def test_a_recording_whose_header_lies_is_refused_or_bridged(tmp_path):
    path, speech = tmp_path / "a.wav", good.speech("a.wav", seconds=0.4)
    for _, content in [*spoil.wav(speech)][::EVERY]:
        path.write_bytes(content)
        assert use(path) in ("no_video", "no_audio", "not_media", "media_too_large", "media_too_long")


def test_pictures_that_are_too_much_are_refused(tmp_path):
    path, outcomes = tmp_path / "a.png", {}
    for name, content in handmade.pictures(good.picture("PNG"), good.picture("JPEG")):
        path.write_bytes(content)
        try:
            height, width, _ = read_background_image(path).shape
            assert height * width <= 4096 * 4096
            outcomes[name] = "used"
        except AdnerfError as refusal:
            outcomes[name] = refusal.code
    assert {outcomes[name] for name in ("16000 x 16000", "0 x 0", "text bomb", "jpeg 65500 x 65500")} == {"not_media"}
    assert outcomes["a point"] == outcomes["cmyk"] == "used"


def test_who_looks_at_a_canary_is_seen(secrets, canaries):
    assert not canaries.disturbed()
    secrets[1].read_text()
    assert canaries.disturbed()
    assert not canaries.disturbed()
    there = urlsplit(canaries.address)
    socket.create_connection((there.hostname, there.port)).close()
    assert canaries.disturbed()


def test_memory_is_that_of_the_process():
    taking = [sys.executable, "-c", "bytearray(b'x' * (100 << 20)); print(flush=True); input()"]
    with subprocess.Popen(taking, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert 100 < peak_mib(process.pid) < 300
        assert not is_ffmpeg(process.pid)
        process.communicate(b"\n")
    assert peak_mib(process.pid) == 0


def test_the_same_seed_makes_the_same_files():
    film = good.picture("PNG")
    assert [*spoil.flips(film, 1, 3)] == [*spoil.flips(film, 1, 3)] != [*spoil.flips(film, 2, 3)]
    assert len({content for _, content in spoil.flips(film, 1, 3)}) == 3
