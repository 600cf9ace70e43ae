"""All voices of this worker behind one interface."""

from __future__ import annotations

from pathlib import Path

from adnerf_core.errors import MissingBackend
from adnerf_core.progress import Progress, silent
from adnerf_core.speech.engine import Speaker, SpeechEngine, Voice
from adnerf_core.speech.espeak import EspeakEngine
from adnerf_core.speech.hibari import HibariEngine
from adnerf_core.speech.onnx_voices import KokoroEngine, PiperEngine
from adnerf_core.speech.speak import SpokenPassage, speak
from storage.settings import Settings
from worker.speech.server_voices import ServerEngine


class Voices:
    """The voices of the engines that are installed on this machine or named by the settings."""

    def __init__(self, settings: Settings):
        """Raises BadSetting if a setting of the speech server is unusable."""
        folder = Path(settings.voices_dir) if settings.voices_dir else None
        folder_engines = [KokoroEngine(folder), PiperEngine(folder)] if folder else []
        self._engines: list[SpeechEngine] = [HibariEngine(), *folder_engines, ServerEngine(settings), EspeakEngine()]
        self._loaded: tuple[Voice, Speaker] | None = None
        """The voice that read last: loading one takes longer than reading a sentence."""

    def voices(self) -> list[Voice]:
        """Returns the voices that are ready, the default first."""
        return [voice for engine in self._engines for voice in engine.voices()]

    def speak(
        self, script: str, voice_id: str, out: Path, *, speed: float = 1.0, progress: Progress = silent
    ) -> list[SpokenPassage]:
        """Reads a script into a WAV; see adnerf_core.speech.speak.

        Raises:
            MissingBackend: this worker does not have the voice, or its engine fails.
            NothingToSay, DiskFull: see there.
        """
        progress("speech", 0, 1)
        for engine in self._engines:
            for voice in engine.voices():
                if voice.id == voice_id:
                    return speak(self._speaker(engine, voice), script, out, speed=speed, progress=progress)
        raise MissingBackend(
            f"This worker has no voice {voice_id}.",
            "Choose another voice, or ask the operator to install this one on every worker that renders.",
        )

    def _speaker(self, engine: SpeechEngine, voice: Voice) -> Speaker:
        """Returns a voice that is loaded. Several threads may ask, and read with the same one at the same time."""
        loaded = self._loaded
        if loaded is None or loaded[0] != voice:
            loaded = self._loaded = voice, engine.load(voice)
        return loaded[1]
