"""What is said in a video, word by word: from its script, or by recognition of its audio."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import CaptionsUnavailable
from adnerf_core.files.sound_reader import stream_audio
from adnerf_core.progress import Progress, silent
from adnerf_core.speech.recognition import MoonshineRecogniser
from adnerf_core.speech.speak import SpokenPassage
from adnerf_core.speech.timing import Word, words_of
from adnerf_core.speech.wav import wav_bytes
from storage.errors import UrlRefused
from storage.settings import Settings
from worker.webhooks import guarded_http

PART_S = 600.0
"""Length of the parts that a server recognises, s: 19 MB, below the limits of known servers."""
DEADLINE_S = 600.0
"""Seconds that a server may take for one part: as long as the part itself."""
MAX_BYTES = 4 << 20
"""Longest answer about a part: some hundred bytes for each sentence."""
MOST_LETTERS, MOST_LETTERS_PER_S = 1000, 50.0
"""Most letters that a server may have heard, at once and per second: the fastest speakers say some thirty."""
SHORTEST_S = 0.1
"""Shortest passage with a time of its own, s: a short word takes twice as long."""
EDGE_S = 0.5
"""Sound around a passage that is looked at, s."""


class Transcriber:
    """Finds the words of a video and their times.

    Recordings are recognised by the server that the settings name, else by Moonshine, which understands English.
    """

    def __init__(self, settings: Settings):
        """Raises BadSetting if a setting of the server is unusable."""
        self.settings = settings
        self._allowed = guarded_http.networks(settings.speech_networks, "ADNERF_SPEECH_NETWORKS")

    def words(self, audio: Path, spoken: list[list[Any]] | None, progress: Progress = silent) -> list[Word]:
        """Returns the words of a sound file.

        Args:
            audio: the sound.
            spoken: its passages as [start_s, end_s, text], if it was read from a script.
            progress: receives the stage "captions".

        Raises:
            CaptionsUnavailable: the recording cannot be recognised.
            MissingBackend, NotMedia, NoAudio and so on: the recogniser is not installed; the audio cannot be used.
        """
        progress("captions", 0, 1)

        def pieces() -> Iterator[np.ndarray]:
            for piece in stream_audio(audio):
                progress("captions", 0, 1)  # a chance to stop
                yield piece

        if spoken is not None:
            passages = [SpokenPassage(start, end, text) for start, end, text in spoken]
        elif self.settings.recogniser_url:
            passages = list(self._ask_server(pieces()))
        else:
            passages = MoonshineRecogniser()(pieces())
        words = [word for passage, *sound in _with_sound(passages, pieces()) for word in words_of(passage, *sound)]
        progress("captions", 1, 1)
        return words

    def _ask_server(self, pieces: Iterable[np.ndarray]) -> Iterator[SpokenPassage]:
        """Asks a server with OpenAI's `POST /v1/audio/transcriptions`."""
        for offset_s, samples in _parts(pieces, round(PART_S * SAMPLE_RATE)):
            answer = self._post(wav_bytes(samples, SAMPLE_RATE))
            try:
                found = [
                    (float(each["start"]), float(each["end"]), str(each["text"]).strip()) for each in answer["segments"]
                ]
            except (KeyError, TypeError, ValueError) as error:
                raise CaptionsUnavailable("The recognition server's answer has no segments.", details=error) from error
            for start, end, text in in_order(found, len(samples) / SAMPLE_RATE):
                yield SpokenPassage(offset_s + start, offset_s + end, text)

    def _post(self, wav: bytes) -> Any:
        boundary = secrets.token_hex(16)
        fields = {"model": self.settings.recogniser_model, "response_format": "verbose_json"}
        parts = [
            f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = 'Content-Disposition: form-data; name="file"; filename="speech.wav"\r\nContent-Type: audio/wav\r\n\r\n'
        parts.append(head.encode() + wav + b"\r\n")
        body = b"".join(f"--{boundary}\r\n".encode() + part for part in parts) + f"--{boundary}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if key := self.settings.recogniser_key.get_secret_value():
            headers["Authorization"] = f"Bearer {key}"
        url = f"{self.settings.recogniser_url.rstrip('/')}/audio/transcriptions"
        try:
            response = guarded_http.post(
                url, headers, body, allowed=self._allowed, deadline_s=DEADLINE_S, max_body_bytes=MAX_BYTES
            )
            if response.status == 200:
                return json.loads(response.body)
            reason = f"status {response.status}: {response.body[:300].decode(errors='replace')}"
        except (UrlRefused, guarded_http.RequestFailed, ValueError) as error:
            reason = str(error)
        raise CaptionsUnavailable("The recognition server cannot be used.", details=reason)


def in_order(segments: Sequence[tuple[float, float, str]], length_s: float) -> list[tuple[float, float, str]]:
    """Returns what a server has heard as passages one after the other, so that the time to place their words grows with the sound alone.

    Args:
        segments: start and end (s) and text of each, in any order; they may overlap.
        length_s: of the sound. Passages lie within it, and a text without time of its own joins the one before.

    Raises:
        CaptionsUnavailable: a time is no number, or there is more text than anybody says.
    """
    if not all(map(math.isfinite, (time for segment in segments for time in segment[:2]))):
        raise CaptionsUnavailable("The recognition server's answer has times that are no numbers.")
    if sum(len(text) for *_, text in segments) > MOST_LETTERS + length_s * MOST_LETTERS_PER_S:
        raise CaptionsUnavailable("The recognition server's answer has more text than the sound can have.")
    passages: list[tuple[float, float, str]] = []
    for start, end, text in sorted(each for each in segments if each[2]):
        begun = passages[-1][1] if passages else 0.0
        start, end = min(max(start, begun), length_s), min(end, length_s)
        if end - start >= SHORTEST_S or not passages:
            passages.append((start, max(start, end), text))
        else:
            passages[-1] = (*passages[-1][:2], f"{passages[-1][2]} {text}")
    return passages


def _parts(pieces: Iterable[np.ndarray], length: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yields consecutive parts of a sound, each with its time in seconds."""
    buffer, offset = np.zeros(0, np.float32), 0
    for piece in pieces:
        buffer = np.concatenate([buffer, piece])
        while len(buffer) >= length:
            yield offset / SAMPLE_RATE, buffer[:length]
            buffer, offset = buffer[length:], offset + length
    if len(buffer):
        yield offset / SAMPLE_RATE, buffer


def _with_sound(
    passages: Iterable[SpokenPassage], pieces: Iterator[np.ndarray]
) -> Iterator[tuple[SpokenPassage, np.ndarray, float]]:
    """Yields passages, which are in order of time, each with the sound around it and the time of its first sample."""
    buffer, offset = np.zeros(0, np.float32), 0
    for passage in passages:
        first, last = (
            round((time + edge) * SAMPLE_RATE) for time, edge in zip(passage[:2], (-EDGE_S, EDGE_S), strict=True)
        )
        while offset + len(buffer) < last and (piece := next(pieces, None)) is not None:
            buffer = np.concatenate([buffer, piece])
        unused = min(max(0, first - offset), len(buffer))
        buffer, offset = buffer[unused:], offset + unused
        yield passage, buffer[: max(0, last - offset)], offset / SAMPLE_RATE
