"""Encoding: colours, sync, atomic writing, unusual sound, and full disks."""

from __future__ import annotations

import os
import struct
import subprocess
from itertools import repeat

import numpy as np
import pytest

from adnerf_core.errors import DiskFull, NotMedia
from adnerf_core.files import ffmpeg, ffmpeg_process
from tests.adnerf_core.files.clock import beep_start, script


@pytest.mark.parametrize(("name", "channels"), [("a.mp4", 3), ("a.webm", 3), ("a.webm", 4)])
def test_videos_are_tagged_with_their_colour_space(tmp_path, name, channels):
    """Matrix, primaries and transfer function: browsers guess missing ones, and show other colours."""
    path = tmp_path / name
    ffmpeg.write_video(path, [np.full((48, 64, channels), 90, np.uint8)] * 3)
    log = subprocess.run([ffmpeg.ffmpeg_path(), "-hide_banner", "-i", path], capture_output=True, text=True).stderr
    assert "(tv, bt709, progressive)" in log or "(tv, bt709)" in log, log  # three equal tags are printed once


def test_colours_survive_writing_and_reading(tmp_path):
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[:24, :32], frame[:24, 32:], frame[24:, :32], frame[24:, 32:] = (
        (220, 40, 40),
        (40, 200, 60),
        (50, 60, 210),
        (128,) * 3,
    )
    ffmpeg.write_video(tmp_path / "a.mp4", repeat(frame, 5))
    back = next(ffmpeg.read_frames(tmp_path / "a.mp4"))
    for y, x in ((12, 16), (12, 48), (36, 16), (36, 48)):
        assert back[y, x] == pytest.approx(frame[y, x], abs=4)


@pytest.mark.parametrize("sound_s", [1.5, 2, 30])
def test_written_video_has_its_frames_and_sound_in_sync(tmp_path, sound_s):
    rate = 44100
    sound = np.zeros(int(sound_s * rate), np.float32)
    sound[rate : int(rate * 1.2)] = 0.5 * np.sin(np.arange(int(rate * 0.2)) * 0.15)
    ffmpeg.write_wav(tmp_path / "in.wav", sound, rate)
    frames = (np.full((63, 65, 3), 255 if k == 25 else 30, np.uint8) for k in range(51))
    out = tmp_path / "out.mp4"
    assert ffmpeg.write_video(out, frames, audio=tmp_path / "in.wav") == 51
    info = ffmpeg.probe(out)
    assert (info.width, info.height, info.fps) == (66, 64, 25) and info.duration_s == pytest.approx(2.04, abs=0.011)
    back = np.array([frame.mean() for frame in ffmpeg.read_frames(out)])
    assert len(back) == 51 and back.argmax() == 25
    samples = ffmpeg.extract_audio(out)
    assert len(samples) == pytest.approx(2.04 * 16000, abs=16)
    assert beep_start(samples) == pytest.approx(1, abs=0.003)
    data = out.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert sorted(os.listdir(tmp_path)) == ["in.wav", "out.mp4"]


def test_written_video_ends_at_its_duration(tmp_path, plain):
    black = np.zeros((32, 32, 3), np.uint8)
    assert ffmpeg.write_video(tmp_path / "a.mp4", repeat(black), audio=plain, duration_s=1.5) == 38
    assert len(ffmpeg.extract_audio(tmp_path / "a.mp4")) == pytest.approx(1.52 * 16000, abs=16)


def test_a_failed_write_leaves_no_file(tmp_path):
    out = tmp_path / "a.mp4"

    def broken():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("renderer")

    with pytest.raises(RuntimeError, match="renderer"):
        ffmpeg.write_video(out, broken())
    with pytest.raises(ValueError, match="at least one"):
        ffmpeg.write_video(out, [])
    with pytest.raises(ValueError, match="frame 1"):
        ffmpeg.write_video(out, [np.zeros((32, 32, 3), np.uint8), np.zeros((32, 34, 3), np.uint8)])
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(NotMedia):
        ffmpeg.write_video(out, [np.zeros((32, 32, 3), np.uint8)], audio=tmp_path / "text.wav")
    assert not out.exists() and os.listdir(tmp_path) == ["text.wav"]


def test_sound_with_nan_is_usable(tmp_path):
    samples = np.zeros(16000, np.float32)
    samples[4000:8000] = np.nan
    samples[8000:9000] = np.inf
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 64036, b"WAVE", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32, b"data", 64000
    )
    path = tmp_path / "nan.wav"
    path.write_bytes(header + samples.tobytes())
    assert np.isfinite(ffmpeg.extract_audio(path)).all() and np.abs(ffmpeg.extract_audio(path)).max() <= 1
    assert ffmpeg.write_video(tmp_path / "a.mp4", repeat(np.zeros((32, 32, 3), np.uint8), 25), audio=path) == 25


def test_wav_round_trip(tmp_path):
    samples = np.array([0, 0.25, -0.5, 1.5, -2], np.float32).repeat(100)
    ffmpeg.write_wav(tmp_path / "a.wav", samples, 16000)
    back = ffmpeg.extract_audio(tmp_path / "a.wav")
    assert back == pytest.approx(samples.clip(-1, 1), abs=1e-4)
    ffmpeg.write_wav(tmp_path / "b.wav", back)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


def test_full_disk(tmp_path, monkeypatch):
    fake = script(
        tmp_path / "ffmpeg",
        "case $2 in -encoders) echo ' V....D libx264'; echo ' A....D aac'; exit;; esac\n"
        "cat >/dev/null; echo 'Error writing trailer: No space left on device' >&2; exit 1",
    )
    monkeypatch.setattr(ffmpeg_process, "ffmpeg_path", lambda: fake)
    with pytest.raises(DiskFull):
        ffmpeg.write_video(tmp_path / "a.mp4", [np.zeros((32, 32, 3), np.uint8)])


def test_a_really_full_disk(small_disk):
    random = np.random.default_rng(0)
    noise = (random.integers(0, 256, (256, 256, 3), np.uint8) for _ in range(1000))
    with pytest.raises(DiskFull):
        ffmpeg.write_video(small_disk / "a.mp4", noise)
    with pytest.raises(DiskFull):
        ffmpeg.write_wav(small_disk / "a.wav", np.zeros(3_000_000, np.float32))
    assert os.listdir(small_disk) == []
