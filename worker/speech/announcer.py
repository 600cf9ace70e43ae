"""Announces the voices of a worker to the API, and makes the samples that clients hear before they choose."""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path
from typing import Any

from adnerf_core.errors import AdnerfError, MediaTooLong
from storage.database.engine import Database
from storage.tables import voices
from storage.tables.voices import AnnouncedVoice

log = logging.getLogger(__name__)

SAMPLES = {
    "en": "Hello, this is how I sound. I will read your script.",
    "de": "Hallo, so klinge ich. Ich lese dein Skript vor.",
    "es": "Hola, así sueno yo. Voy a leer tu guion.",
    "fr": "Bonjour, voici ma voix. Je vais lire votre texte.",
    "it": "Ciao, questa è la mia voce. Leggerò il tuo testo.",
    "pt": "Olá, esta é a minha voz. Vou ler o seu texto.",
}
"""What samples say, by language."""
ANY_SAMPLE = "1, 2, 3, 4, 5."
"""What samples of other languages say: every language reads numbers."""

LARGEST_SAMPLE = 4 << 20
"""Bytes of a sample: a sentence has some hundred kilobytes. It is stored in the database, and read from there as a whole."""


class Announcer:
    """Announces voices (worker.speech.voices.Voices, or what a test puts in its place), and makes the samples that are missing."""

    def __init__(self, voices: Any, database: Database, stopping: threading.Event):
        self.voices, self.database, self.stopping = voices, database, stopping
        self._failed: set[str] = set()

    def announce(self) -> None:
        """Announces the voices; then makes samples until all are there or `stopping` is set."""
        found = {voice.id: voice for voice in self.voices.voices()}
        with self.database.session() as session:
            voices.announce(
                session,
                [
                    AnnouncedVoice(each.id, each.name, each.language, each.engine, each.licence)
                    for each in found.values()
                ],
            )
        while not self.stopping.is_set():
            with self.database.session(write=False) as session:
                voice_id = voices.without_sample(session, [each for each in found if each not in self._failed])
            if voice_id is None:
                return
            self._make_sample(found[voice_id])

    def _make_sample(self, voice: Any) -> None:
        text = SAMPLES.get(voice.language.partition("-")[0], SAMPLES["en"] if voice.language == "und" else ANY_SAMPLE)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sample.wav"
            try:
                self.voices.speak(text, voice.id, path)
                if path.stat().st_size > LARGEST_SAMPLE:
                    raise MediaTooLong("The voice speaks for too long.", "Check the voice's engine.")
            except AdnerfError as error:
                log.warning("there is no sample of %s: %s", voice.id, error)
                self._failed.add(voice.id)
                return
            with self.database.session() as session:
                voices.store_sample(session, voice.id, path.read_bytes())
