"""espeak-ng: a program (GPL-3.0) with voices of more than a hundred languages. It is run as a process of its own, never linked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

from adnerf_core.errors import MissingBackend
from adnerf_core.speech.engine import Sound, Speaker, Voice, voice_id
from adnerf_core.speech.wav import read_wav

PROGRAM = "espeak-ng"
WORDS_PER_MINUTE = 160
"""Pace at speed 1: the program's own default, 175, is quicker than people speak in videos."""
TIME_LIMIT_S = 60.0
"""Longest run for one passage: it takes milliseconds."""
FIRST = "en-us"
"""The language whose voice comes first."""


class EspeakEngine:
    """The voices of the program `espeak-ng`, where it is installed."""

    name = "espeak"

    def voices(self) -> list[Voice]:
        """See SpeechEngine."""
        program = shutil.which(PROGRAM)
        if program is None:
            return []
        listing = run(program, ["--voices"]).decode(errors="replace")
        # Pty Language Age/Gender VoiceName File Other languages
        rows = re.findall(r"^ *\d+ +(\S+) +\S+ +(\S+)", listing, re.MULTILINE)
        found = {
            code: Voice(voice_id(self.name, code), name.replace("_", " "), code, self.name, "GPL-3.0-or-later")
            for code, name in rows
        }
        return sorted(found.values(), key=lambda voice: (voice.language != FIRST, voice.language))

    def load(self, voice: Voice) -> Speaker:
        """See SpeechEngine."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise MissingBackend(f"{PROGRAM} is not installed.", f"Ask the operator to install {PROGRAM}.")

        def speaker(text: str, speed: float) -> Sound:
            pace = str(round(WORDS_PER_MINUTE * speed))
            return read_wav(run(program, ["-v", voice.language, "-s", pace, "-b", "1", "--stdin", "--stdout"], text))

        return speaker


def run(program: str, arguments: list[str], text: str = "") -> bytes:
    """Runs a program with `text` as its standard input and returns what it writes. Raises MissingBackend if it fails."""
    environment = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH") if name in os.environ
    }
    try:
        return subprocess.run(
            [program, *arguments],
            input=text.encode(),
            capture_output=True,
            env=environment,
            timeout=TIME_LIMIT_S,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingBackend(
            f"{PROGRAM} failed.", "Choose another voice, or ask the operator.", details=error
        ) from error
