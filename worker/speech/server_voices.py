"""Voices of a server with OpenAI's `POST /v1/audio/speech`, which many speech programs offer as well.

The operator names the server; still its address is guarded as those of webhooks are (worker/webhooks/guarded_http.py), so that a name
that comes to point elsewhere does not lead into the operator's network.
"""

from __future__ import annotations

import json

from adnerf_core.errors import MissingBackend
from adnerf_core.speech.engine import Sound, Speaker, Voice, voice_id
from adnerf_core.speech.wav import read_wav
from storage.errors import UrlRefused
from storage.settings import Settings
from worker.webhooks import guarded_http

DEADLINE_S = 120.0
"""Seconds for the speech of one passage: a server without a GPU may be slower than speech."""
MAX_BYTES = 64 << 20
"""Longest answer: 11 minutes of 48 kHz stereo, far more than a passage."""
REMEDY = "Retry; if it happens again, choose another voice, or ask the operator to check the speech server."


class ServerEngine:
    """The voices that the settings name, read by a server."""

    name = "server"

    def __init__(self, settings: Settings):
        self.settings = settings
        self.allowed = guarded_http.networks(settings.speech_networks, "ADNERF_SPEECH_NETWORKS")

    def voices(self) -> list[Voice]:
        """See SpeechEngine. The server is not asked: its interface has no list of voices."""
        if not self.settings.speech_url:
            return []
        names = [name.strip() for name in self.settings.speech_voices.split(",") if name.strip()]
        licence = self.settings.speech_licence
        return [Voice(voice_id(self.name, name), name, "und", self.name, licence) for name in names]

    def load(self, voice: Voice) -> Speaker:
        """See SpeechEngine."""

        def speaker(text: str, speed: float) -> Sound:
            return read_wav(self._ask({"input": text, "voice": voice.name, "speed": speed}))

        return speaker

    def _ask(self, request: dict[str, object]) -> bytes:
        body = json.dumps({"model": self.settings.speech_model, "response_format": "wav"} | request).encode()
        headers = {"Content-Type": "application/json"}
        if key := self.settings.speech_key.get_secret_value():
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.settings.speech_url.rstrip('/')}/audio/speech"
        try:
            response = guarded_http.post(
                url, headers, body, allowed=self.allowed, deadline_s=DEADLINE_S, max_body_bytes=MAX_BYTES
            )
        except (UrlRefused, guarded_http.RequestFailed) as error:
            raise MissingBackend("The speech server cannot be used.", REMEDY, details=error) from error
        if response.status != 200:
            answer = response.body[:300].decode(errors="replace")
            raise MissingBackend(f"The speech server answered with status {response.status}.", REMEDY, details=answer)
        return response.body
