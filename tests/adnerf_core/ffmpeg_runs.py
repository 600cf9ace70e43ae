"""Records how often ffmpeg reads which file."""

from __future__ import annotations

from pathlib import Path

import pytest

from adnerf_core.files import ffmpeg_process


def record_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Returns a list to which the command of every ffmpeg that is started from now on is added."""
    commands: list[list[str]] = []

    class RecordedProcess(ffmpeg_process.FfmpegProcess):
        def __init__(self, command, *arguments):
            commands.append(command)
            super().__init__(command, *arguments)

    monkeypatch.setattr(ffmpeg_process, "FfmpegProcess", RecordedProcess)
    return commands


def reads_of(path: Path, commands: list[list[str]]) -> list[str]:
    """What each of the `commands` that read `path` does with it: "probe", "pictures" or "sound"."""
    kinds = []
    for command in commands:
        if ffmpeg_process.file_url(path) in command:
            kinds.append("probe" if "framecrc" in command else "pictures" if "rgb24" in command else "sound")
    return kinds
