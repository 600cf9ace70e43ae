"""What tests of several rooms use."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class SpeakerVideo(NamedTuple):
    """A short video of the synthetic speaker, and what the speaker did in it (demo.speaker.Truth: [frames] each)."""

    path: Path
    truth: tuple


@pytest.fixture(scope="session")
def speaker_video(tmp_path_factory) -> SpeakerVideo:
    """Nine seconds of the synthetic speaker, 256 px."""
    from demo.speaker import make_speaker  # loads MediaPipe, which other tests need not wait for

    path = tmp_path_factory.mktemp("speaker") / "speaker.mp4"
    return SpeakerVideo(path, make_speaker(path, size=256, seconds=9))


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 3 MB, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
