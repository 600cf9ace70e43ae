"""Synthetic speech in many voices, rooms and microphones, with the times of its phonemes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.signal import fftconvolve, resample

from adnerf_core.config import SAMPLE_RATE
from audio_pretraining.texts import TEXTS
from demo.speech import Phoneme, speak

VARIANTS = (
    *(f"m{n}" for n in range(1, 9)),
    *(f"f{n}" for n in range(1, 6)),
    *("adam", "anika", "caleb", "edward", "linda", "michael", "quincy", "steph"),
)
"""Voices of espeak-ng that can be combined with any language."""
WORDS_PER_MINUTE, PITCH = (120, 210), (15, 85)
"""Ranges of speed and pitch; the latter in espeak-ng's unit, 0..99, with 50 for normal."""
MAX_TRACT_CHANGE = 0.12
"""Largest relative change of the vocal tract's length, and with it of pitch and speed: about the difference between adults."""
MAX_PAUSE_S = 1.0
"""Longest silence added before and after a sentence. The recogniser's states run ahead of the speech, and the encoder must learn not to
open the lips in the pause before. Of .3, 1 and 2 s, 1 s was the best for other voices (docs/fidelity.md)."""
ENGLISH_SHARE = 0.35
"""Share of English, which the recogniser knows best."""
REVERB_S, REVERB_DB = (0.1, 0.6), (-30.0, -10.0)
"""Ranges of the time in which a room's echo decays by 60 dB, and of the echo's energy relative to the direct sound: from a studio to a
living room with a distant microphone."""
FIRST_ECHO_S = 0.003
"""Time of the first echo: a surface about half a metre behind the microphone."""
NOISE_DB, LEVEL_DB = (-60.0, -15.0), (-32.0, -18.0)
"""Ranges of the noise relative to the speech, and of the level of the speech relative to full scale."""
MICROPHONE_STD, NOISE_STD = 0.5, 1.0
"""Spread of the random frequency responses (see color) of room and microphone, and of the noise, whose spectrum differs more."""


class Utterance(NamedTuple):
    """A spoken sentence.

    Attributes:
        samples: mono at SAMPLE_RATE, -1..1.
        phonemes: in order of time.
    """

    samples: Float[np.ndarray, " samples"]
    phonemes: list[Phoneme]


def utterances(seconds: float, random: np.random.Generator) -> Iterator[Utterance]:
    """Yields random sentences in random voices until there are at least `seconds` of speech."""
    languages = list(TEXTS)
    english = np.array([language.startswith("en") for language in languages])
    share = np.where(english, ENGLISH_SHARE / english.sum(), (1 - ENGLISH_SHARE) / (~english).sum())
    while seconds > 0:
        language = languages[random.choice(len(languages), p=share)]
        speech = speak(
            TEXTS[language][random.integers(len(TEXTS[language]))],
            voice=f"{language}+{VARIANTS[random.integers(len(VARIANTS))]}",
            words_per_minute=int(random.integers(*WORDS_PER_MINUTE)),
            pitch=int(random.integers(*PITCH)),
        )
        # Resampling changes the length of the vocal tract, together with pitch and speed.
        stretch = random.uniform(1 - MAX_TRACT_CHANGE, 1 + MAX_TRACT_CHANGE)
        samples = resample(speech.samples, round(len(speech.samples) * stretch * SAMPLE_RATE / speech.rate))
        before, after = (random.uniform(0, MAX_PAUSE_S, 2) * SAMPLE_RATE).astype(int)
        samples = np.pad(samples, (before, after))
        phonemes = [Phoneme(p.name, before / SAMPLE_RATE + p.start * stretch) for p in speech.phonemes]
        seconds -= len(samples) / SAMPLE_RATE
        yield Utterance(record(samples, random), phonemes)


def record(samples: Float[np.ndarray, " samples"], random: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Simulates a recording: a room's echo, a microphone's frequency response, noise, and a recording level."""
    recorded = color(reverberate(samples, random), random, spread=MICROPHONE_STD)
    level = np.sqrt(np.mean(recorded**2))
    noise = color(random.standard_normal(len(recorded)), random, spread=NOISE_STD)
    recorded += noise / noise.std() * level * 10 ** (random.uniform(*NOISE_DB) / 20)
    return (recorded / level * 10 ** (random.uniform(*LEVEL_DB) / 20)).clip(-1, 1).astype(np.float32)


def reverberate(samples: Float[np.ndarray, " samples"], random: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Adds a random room's echo: noise that decays exponentially."""
    decay_s = random.uniform(*REVERB_S)
    times = np.arange(int(decay_s * SAMPLE_RATE)) / SAMPLE_RATE
    echo = random.standard_normal(len(times)) * 10 ** (-3 * times / decay_s) * (times > FIRST_ECHO_S)
    echo *= 10 ** (random.uniform(*REVERB_DB) / 20) / np.linalg.norm(echo)
    echo[0] = 1.0
    return fftconvolve(samples, echo)[: len(samples)]


def color(
    samples: Float[np.ndarray, " samples"], random: np.random.Generator, spread: float
) -> Float[np.ndarray, " samples"]:
    """Applies a smooth random frequency response.

    The log gain is a sum of four cosines over the logarithm of frequency.

    Args:
        spread: standard deviation of the cosines' coefficients, neper.
    """
    spectrum = np.fft.rfft(samples)
    hz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    position = np.log1p(hz / 100) / np.log1p(SAMPLE_RATE / 200)  # 0..1; linear in frequency below 100 Hz
    waves = np.cos(np.pi * np.arange(1, 5)[:, None] * position)
    return np.fft.irfft(spectrum * np.exp(spread * random.standard_normal(4) @ waves), len(samples))
