"""Writes the samples that the service's page offers: `python -m demo.samples FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from adnerf_core.files.ffmpeg import write_wav
from demo.__main__ import SAY
from demo.speaker import make_speaker
from demo.speech import speak


def write_samples(folder: Path) -> None:
    """Writes person.mp4, the animated photograph, and speech.wav, what it says in the demo's video."""
    folder.mkdir()
    speech = speak(SAY)
    write_wav(folder / "speech.wav", speech.samples, speech.rate)
    make_speaker(folder / "person.mp4")


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]))
