"""A video that is watched while it is written: whole pieces, each with a key frame first, of the same encoding as the file."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from adnerf_core.config import FIRST_SEGMENT_FRAMES, FPS, SAMPLE_RATE, SEGMENT_FRAMES
from adnerf_core.files import ffmpeg
from adnerf_core.files.fragments import copy_pieces
from api.responses.playlist import playlist
from api.services.streams import Stream
from tests import hls

FRAMES = FIRST_SEGMENT_FRAMES + 2 * SEGMENT_FRAMES + 7


def moving(count):
    """Something that moves, so that there are frames that refer to later ones."""
    rows, cols = np.mgrid[:48, :64]
    for k in range(count):
        gray = 128 + 100 * np.sin(rows / 5 + k / 3) * np.cos(cols / 7 - k / 4)
        yield np.repeat(gray[..., None], 3, axis=2).astype(np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a video, and the pieces that were seen of it."""
    folder, pieces = tmp_path_factory.mktemp("watched"), []
    times = np.arange(FRAMES * SAMPLE_RATE // FPS) / SAMPLE_RATE
    ffmpeg.write_wav(folder / "a.wav", (0.3 * np.sin(2 * np.pi * 300 * times * (1 + times))).astype(np.float32))
    known = {"audio": folder / "a.wav", "duration_s": FRAMES / FPS}
    ffmpeg.write_video(folder / "watched.mp4", moving(FRAMES), watch=pieces.append, **known)
    ffmpeg.write_video(folder / "plain.mp4", moving(FRAMES), **known)
    (folder / "stream" / "3").mkdir(parents=True)
    for name, piece in zip(("init.mp4", *(f"{k}.m4s" for k in range(9))), pieces, strict=False):
        (folder / "stream" / "3" / name).write_bytes(piece.data)
    (folder / "stream.m3u8").write_text(playlist(Stream(3, FRAMES, True)))
    return folder, pieces


def run(folder, *arguments):
    command = [ffmpeg.ffmpeg_path(), "-hide_banner", "-v", "error", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    assert not done.stderr, done.stderr
    return done.stdout


def test_pieces_begin_with_key_frames_and_times_that_go_on(written):
    _, (header, *fragments) = written
    assert header.frames == 0
    assert [piece.frames for piece in fragments] == [FIRST_SEGMENT_FRAMES, SEGMENT_FRAMES, SEGMENT_FRAMES, 7]
    found = hls.check_media(
        header.data, [piece.data for piece in fragments], [piece.frames / FPS for piece in fragments]
    )
    assert [each["vide"].samples for each in found] == [piece.frames for piece in fragments]
    assert all(abs(each["soun"].start_s - each["vide"].start_s) < 0.1 for each in found)


def frames(folder, source, kind, *options):
    """The times in seconds and the checksums of what a file has of a kind."""
    lines = run(folder, *source, "-map", f"0:{kind}", *options, "-f", "framecrc", "-").decode().splitlines()
    scale = next(int(line.rsplit("/")[-1]) for line in lines if line.startswith("#tb"))
    found = [line.split(",") for line in lines if line.startswith("0,")]
    return [int(each[2]) / scale for each in found], [each[5].strip() for each in found]


def test_a_player_of_the_playlist_shows_the_frames_and_the_sound_of_the_file(written):
    folder, _ = written
    stream = ("-protocol_whitelist", "file", "-allowed_extensions", "ALL", "-i", "stream.m3u8")
    began = []
    for kind in ("v", "a"):
        times, shown = frames(folder, stream, kind)
        known_times, known = frames(folder, ("-i", "watched.mp4"), kind)
        assert shown[: len(known) - 1] == known[:-1]  # the last piece of sound may be longer
        began.append(times[0] - known_times[0])
        assert np.allclose(np.diff(times), np.diff(known_times), atol=1e-4)
    assert began[0] == pytest.approx(began[1], abs=1e-3), "sound and picture stay together"
    assert len(frames(folder, stream, "v")[1]) == FRAMES


def test_the_file_is_as_one_that_nobody_watched(written):
    folder, _ = written
    watched, plain = (folder / f"{name}.mp4" for name in ("watched", "plain"))
    read = [np.stack([*ffmpeg.read_frames(path)]).astype(int) for path in (watched, plain)]
    assert read[0].shape == read[1].shape and np.abs(read[0] - read[1]).mean() < 5
    assert frames(folder, ("-i", watched), "a") == frames(folder, ("-i", plain), "a")
    for path in (watched, plain):
        assert frames(folder, ("-i", path), "v")[0] == [k / FPS for k in range(FRAMES)]
    content = watched.read_bytes()
    assert content[int.from_bytes(content[:4]) :][4:8] == b"moov", "the index is at the front"


def test_what_a_killed_encoder_left_is_no_piece(written, tmp_path):
    _, (header, first, second, *_) = written
    whole, pieces = header.data + first.data + second.data, []
    (tmp_path / "cut").write_bytes(whole[:-1])
    with (tmp_path / "cut").open("rb") as source, (tmp_path / "copy").open("wb") as copy:
        copy_pieces(source, copy, pieces.append)
    assert pieces == [header, first] and (tmp_path / "copy").read_bytes() == whole[:-1]


def test_only_an_mp4_of_known_length_can_be_watched(tmp_path):
    for path, known in (("a.mp4", {}), ("a.webm", {"duration_s": 1.0})):
        with pytest.raises(ValueError, match="known length"):
            ffmpeg.write_video(tmp_path / path, moving(25), watch=print, **known)
