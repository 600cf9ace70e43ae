"""A sample of the bad files (benchmarks/badfiles) in the core: each is refused with a reason, and no other file is read."""

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
"""Only each fourth file of a kind is tested; `python -m benchmarks.badfiles` sends all."""


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The files that bad files refer to and that must not be read."""
    return hide(tmp_path_factory.mktemp("bad") / "hidden")


@pytest.fixture
def canaries(secrets):
    """The observation of these files and of an address."""
    with closing(Canaries(secrets)) as canaries:
        yield canaries


def use(path) -> str:
    """Uses a file in all ways in which a job does; returns `used`, or the code of the error."""
    try:
        if ffmpeg.probe(path).has_audio:
            assert sum(len(piece) for piece in ffmpeg.stream_audio(path, duration_s=20)) <= 20 * 16000
        for number, frame in enumerate(ffmpeg.read_frames(path, size=(32, 24), duration_s=2)):
            assert frame.shape == (24, 32, 3) and number < 50
    except AdnerfError as refusal:
        return refusal.code
    return "used"


def test_an_mp4_with_wrong_boxes_is_refused_or_read(tmp_path, secrets, canaries):
    path, film = tmp_path / "a.mp4", good.film("a.mp4", *good.H264)
    outcomes = {}
    for name, content in [*spoil.mp4(film, str(secrets[0])), *spoil.flips(film, 3, 4), *spoil.cuts(film)][::EVERY]:
        path.write_bytes(content)
        outcomes[name] = use(path)
    assert not canaries.accessed()
    assert len(outcomes) >= 12
    assert set(outcomes.values()) <= {"used", "not_media", "no_video", "no_audio", "media_too_large", "media_too_long"}
    path.write_bytes(film)
    assert use(path) == "used"


def test_the_files_and_addresses_in_a_playlist_are_not_opened(tmp_path, secrets, canaries):
    path, codes = tmp_path / "a.mp4", set()
    # The variants that the API does not recognise as text.
    for _, content in [*handmade.lists(str(secrets[0]), canaries.address)][1::EVERY]:
        path.write_bytes(content)
        codes.add(use(path))
    assert codes == {"not_media"}
    assert not canaries.accessed()


def test_a_recording_with_a_wrong_header_is_refused(tmp_path):
    path, speech = tmp_path / "a.wav", good.speech("a.wav", seconds=0.4)
    for _, content in [*spoil.wav(speech)][::EVERY]:
        path.write_bytes(content)
        assert use(path) in ("no_video", "no_audio", "not_media", "media_too_large", "media_too_long")


def test_images_that_are_too_large_or_invalid_are_refused(tmp_path):
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


def test_access_to_a_canary_is_reported(secrets, canaries):
    assert not canaries.accessed()
    secrets[1].read_text()
    assert canaries.accessed()
    assert not canaries.accessed()
    url = urlsplit(canaries.address)
    socket.create_connection((url.hostname, url.port)).close()
    assert canaries.accessed()


def test_peak_memory_is_that_of_the_process():
    command = [sys.executable, "-c", "bytearray(b'x' * (100 << 20)); print(flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert 100 < peak_mib(process.pid) < 300
        assert not is_ffmpeg(process.pid)
        process.communicate(b"\n")
    assert peak_mib(process.pid) == 0


def test_equal_seeds_give_equal_files():
    image = good.picture("PNG")
    assert [*spoil.flips(image, 1, 3)] == [*spoil.flips(image, 1, 3)] != [*spoil.flips(image, 2, 3)]
    assert len({content for _, content in spoil.flips(image, 1, 3)}) == 3
