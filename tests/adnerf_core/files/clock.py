"""A test clip that tells its time: the brightness of its pictures rises steadily, and there is one beep."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from adnerf_core.files import ffmpeg

CLOCK = "nullsrc=s=64x48:r={rate}:d=2,geq=lum='20+100*T':cb=128:cr=128"
"""Two seconds of pictures, whose luma is 20 + 100 t at time t, s."""

BEEP = "aevalsrc='0.5*sin(2*PI*1000*t)*between(t,1,1.2)':s=48000:d=2"
"""Two seconds of sound: silence, but for a tone from 1.0 to 1.2 s."""


def run_ffmpeg(*arguments: str | Path) -> None:
    """Runs ffmpeg with `arguments`, overwriting files."""
    command = [ffmpeg.ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True)


def clip(path: Path, *options: str, rate: str = "25", video: bool = True, audio: bool = True) -> Path:
    """Writes two seconds of CLOCK and BEEP, with encoder options; returns `path`."""
    pictures = ["-f", "lavfi", "-i", CLOCK.format(rate=rate)] if video else []
    sound = ["-f", "lavfi", "-i", BEEP] if audio else []
    run_ffmpeg(*pictures, *sound, *options, path)
    return path


def times(frames: Iterable[np.ndarray]) -> np.ndarray:
    """Returns the times that pictures of CLOCK show, s. (Their luma has limited range: 16..235 becomes 0..255.)"""
    gray = np.array([frame[8:-8, 8:-8].mean() for frame in frames])
    return (gray * 219 / 255 + 16 - 20) / 100


def beep_start(samples: np.ndarray, rate: int = 16000) -> float:
    """Returns when the tone of BEEP starts, s; checks its length."""
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    assert 0.19 < (loud[-1] - loud[0]) / rate < 0.21
    return loud[0] / rate


def script(path: Path, text: str) -> str:
    """Writes an executable shell script; returns its path."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)
