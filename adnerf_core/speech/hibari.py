"""Hibari: English voices in a Python package (Apache-2.0), small enough for a processor."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from adnerf_core.speech.engine import Sound, Speaker, Voice, latin_only, voice_id

SEED = 0
"""Seed of the voice's noise: the same script gives the same sound."""


class HibariEngine:
    """The voices of the package `hibari-tts` whose files are on this machine. None is downloaded."""

    name = "hibari"

    def voices(self) -> list[Voice]:
        """See SpeechEngine."""
        if find_spec("hibari") is None or find_spec("onnxruntime") is None:
            return []
        return [
            Voice(voice_id(self.name, name), name.capitalize(), about["language"], self.name, "Apache-2.0")
            for name, about in _registry().items()
            if _file(name) is not None
        ]

    def load(self, voice: Voice) -> Speaker:
        """See SpeechEngine."""
        from hibari import Hibari

        name = voice.id.removeprefix(f"{self.name}-")
        model = Hibari(voice=name, model=_file(name))

        def speaker(text: str, speed: float) -> Sound:
            return Sound(model(latin_only(text), speed, SEED), model.sample_rate)

        return speaker


def _registry() -> dict[str, dict[str, str]]:
    from hibari.voices import VOICES

    return VOICES


def _file(name: str) -> str | None:
    from hibari.voices import voice_path

    try:
        path = voice_path(name, download_missing=False)
    except FileNotFoundError:
        return None
    return path if Path(path).is_file() else None
