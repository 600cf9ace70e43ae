"""Encoding by a GPU: chosen where a trial works, else the CPU; wrappers of ffmpeg say that there is one."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adnerf_core.files import ffmpeg, ffmpeg_choice, hardware_encoder
from adnerf_core.files.video_formats import MP4, WEBM
from tests.adnerf_core.files.clock import script

FRAMES = [np.full((48, 64, 3), 90, np.uint8)] * 3

WITH_GPU = """
echo "$CUDA_VISIBLE_DEVICES: $*" >> {log}
for word; do
  shift
  case $word in h264_nvenc) word=libx264;; p4) word=veryfast;; esac
  set -- "$@" "$word"
done
exec {packaged} "$@"
"""
"""An ffmpeg that encodes as a GPU would: NVENC's name and preset are replaced by those of the encoder that is here."""

WITHOUT = """
echo "$*" >> {log}
case "$*" in *h264_nvenc*) exit 1;; esac
exec {packaged} "$@"
"""
"""An ffmpeg that lists the encoder, and cannot use it."""


@pytest.fixture
def ffmpeg_that(tmp_path, monkeypatch):
    """A function that lets a script be the ffmpeg that is run; it returns the file of command lines."""

    def use(text: str) -> Path:
        packaged, log = ffmpeg_choice.checked_ffmpeg(""), tmp_path / "commands"
        program = script(tmp_path / "ffmpeg", text.format(packaged=shlex.quote(packaged), log=shlex.quote(str(log))))
        monkeypatch.setenv(ffmpeg_choice.SETTING, program)
        ffmpeg.ffmpeg_path()
        log.write_text("")
        return log

    return use


def encoders(log: Path) -> list[str]:
    """The encoders of the command lines that end in a file or in nothing."""
    names = ("h264_nvenc", "libx264", "libvpx-vp9")
    return [next(name for name in names if name in line) for line in log.read_text().splitlines() if "pipe:0" in line]


def test_a_gpu_that_passes_a_trial_encodes(tmp_path, ffmpeg_that, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    log = ffmpeg_that(WITH_GPU)
    assert ffmpeg.write_video(tmp_path / "a.mp4", FRAMES, hardware=True) == 3
    assert encoders(log) == ["h264_nvenc", "h264_nvenc"]  # the trial, and the video
    assert "-video_size 64x48" in log.read_text().splitlines()[0]  # a GPU may refuse small pictures, or large ones
    assert all(line.startswith("3: ") for line in log.read_text().splitlines())  # this worker's GPU, not the first
    assert sum(1 for _ in ffmpeg.read_frames(tmp_path / "a.mp4")) == 3


@pytest.mark.parametrize("trial_s", [20, 0.3])
def test_without_a_working_gpu_the_cpu_encodes(tmp_path, ffmpeg_that, monkeypatch, trial_s):
    monkeypatch.setattr(hardware_encoder, "TRIAL_SECONDS", trial_s)
    log = ffmpeg_that(WITHOUT if trial_s == 20 else WITHOUT.replace("exit 1", "sleep 60"))
    assert ffmpeg.write_video(tmp_path / "a.mp4", FRAMES, hardware=True) == 3
    assert encoders(log) == ["h264_nvenc", "libx264"]
    assert sum(1 for _ in ffmpeg.read_frames(tmp_path / "a.mp4")) == 3


def test_a_gpu_is_not_tried_without_being_asked_for(tmp_path, ffmpeg_that):
    log = ffmpeg_that(WITH_GPU)
    ffmpeg.write_video(tmp_path / "a.mp4", FRAMES)
    ffmpeg.write_video(tmp_path / "a.webm", FRAMES, hardware=True)  # the format has no such encoder
    assert encoders(log) == ["libx264", "libvpx-vp9"]


def test_the_packaged_ffmpeg_tells_the_truth_about_this_machine():
    """On a machine without a GPU it lists the encoder all the same, so that only a trial tells."""
    assert "h264_nvenc" in ffmpeg_choice.listed(ffmpeg.ffmpeg_path(), "encoders")
    found = ffmpeg.hardware_encoder(MP4, 256, 256)
    assert found is None if not Path("/proc/driver/nvidia/version").exists() else found in (None, MP4.hardware)
    unknown = replace(MP4, hardware={"c:v": "no_such_encoder"})
    assert ffmpeg.hardware_encoder(unknown, 256, 256) is None and ffmpeg.hardware_encoder(WEBM, 256, 256) is None
