"""WAV in memory: what speech programs and servers send and receive."""

from __future__ import annotations

import io
import wave

import numpy as np
from jaxtyping import Float

from adnerf_core.errors import MissingBackend
from adnerf_core.speech.engine import Sound

LOWEST_RATE, HIGHEST_RATE = 4_000, 192_000
"""Samples per second of speech: less is not understood, and a header that claims more would make hours of every pause."""


def wav_bytes(samples: Float[np.ndarray, " samples"], rate: int) -> bytes:
    """Returns a mono 16-bit WAV of samples of -1..1."""
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", None))
        file.writeframes(np.rint(np.clip(samples * 32768, -32768, 32767)).astype("<i2").tobytes())
    return data.getvalue()


def read_wav(data: bytes) -> Sound:
    """Returns the sound of a WAV of 16-bit samples, whatever length its header claims: streams do not know theirs.

    Raises MissingBackend if it is something else: a speech program or server has failed then.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            if width != 2:
                raise wave.Error(f"samples of {8 * width} bits")
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise wave.Error(f"{rate} samples per second")
            frames = file.readframes(min(file.getnframes(), len(data)))
    except (wave.Error, EOFError) as error:
        raise MissingBackend(
            "The speech engine did not answer with a WAV of 16-bit samples.",
            "Choose another voice, or ask the operator to check the engine.",
            details=error,
        ) from error
    whole = len(frames) // (2 * channels) * 2 * channels
    samples = np.frombuffer(frames[:whole], "<i2").reshape(-1, channels)
    return Sound(samples.mean(axis=1, dtype=np.float32) / np.float32(32768), rate)
