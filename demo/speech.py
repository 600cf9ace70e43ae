"""Synthesises speech with espeak-ng, which the espeakng-loader wheel brings, through ctypes.

espeak-ng is licensed under GPL-3. Only the demo and the pretraining use it; the service does not import it.
"""

from __future__ import annotations

import ctypes
import threading
from typing import NamedTuple

import espeakng_loader
import numpy as np

_SYNCHRONOUS, _PHONEME_EVENTS, _IPA, _DONT_EXIT = 2, 1, 2, 0x8000
_UTF8 = 1
_RATE_PARAMETER, _PITCH_PARAMETER = 1, 3
_END_OF_LIST, _WORD, _PHONEME = 0, 1, 7

_lock = threading.Lock()
"""The library has global state, so one thread at a time uses it."""

PAUSE_S = 0.3
"""Silence before and after the speech, s."""


class Phoneme(NamedTuple):
    """A sound of speech: its IPA name ("" is a pause) and the time at which it starts, s."""

    name: str
    start: float


class Speech(NamedTuple):
    """Synthesised speech.

    Attributes:
        samples: [n] float32, -1..1.
        rate: samples per second.
        phonemes: in order of time.
        words: the place of each word in the text, in characters, and the time at which it starts, s; None if it was joined.
    """

    samples: np.ndarray
    rate: int
    phonemes: list[Phoneme]
    words: dict[int, float] | None = None

    @property
    def seconds(self) -> float:
        """The duration."""
        return len(self.samples) / self.rate


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def speak(text: str, *, voice: str = "en-us+f3", words_per_minute: int = 160, pitch: int = 48) -> Speech:
    """Synthesises `text`, with PAUSE_S of silence before and after.

    The first call in a process always gives the same speech; later ones differ by a few samples, because the library keeps
    state.

    Args:
        text: what is said.
        voice: a voice of espeak-ng.
        words_per_minute: the speed.
        pitch: 0 to 99.

    Raises:
        ValueError: if there is no such voice.
        RuntimeError: if the library does not start.
    """
    pieces: list[np.ndarray] = []
    phonemes: list[Phoneme] = []
    words: dict[int, float] = {}

    @_Callback
    def receive(samples, count, events):
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != _END_OF_LIST:
            event = events[index]
            if event.type == _PHONEME:
                phonemes.append(Phoneme(event.name.decode(errors="ignore").strip("ˈˌ "), event.audio_position / 1000))
            elif event.type == _WORD:
                words[event.text_position - 1] = event.audio_position / 1000 + PAUSE_S
            index += 1
        return 0

    with _lock:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS | _IPA | _DONT_EXIT)
        if rate <= 0:
            raise RuntimeError("espeak-ng could not start")
        try:
            library.espeak_SetSynthCallback(receive)
            library.espeak_ng_SetRandSeed(1)  # its breath noise
            if library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise ValueError(f"espeak-ng knows no voice {voice!r}")
            library.espeak_SetParameter(_RATE_PARAMETER, words_per_minute, 0)
            library.espeak_SetParameter(_PITCH_PARAMETER, pitch, 0)
            encoded = text.encode()
            size = ctypes.c_size_t(len(encoded) + 1)
            library.espeak_Synth(encoded, size, 0, 1, 0, _UTF8, None, None)
        finally:
            library.espeak_Terminate()

    silence = np.zeros(round(PAUSE_S * rate), np.int16)
    samples = np.concatenate([silence, *pieces, silence]).astype(np.float32) / 32768
    return Speech(samples, rate, [Phoneme(p.name, p.start + PAUSE_S) for p in phonemes], words)


def join(parts: list[Speech], pause_s: float) -> Speech:
    """Returns `parts`, all of the same rate, one after the other, with `pause_s` of silence between them."""
    rate, samples, phonemes, start = parts[0].rate, [], [], 0.0
    silence = np.zeros(round(pause_s * rate), np.float32)
    for part in parts:
        phonemes += [Phoneme(p.name, p.start + start) for p in part.phonemes] + [Phoneme("", start + part.seconds)]
        samples += [part.samples, silence]
        start += part.seconds + pause_s
    return Speech(np.concatenate(samples[:-1]), rate, phonemes)
