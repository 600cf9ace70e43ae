"""Synthetic speech in many voices, as other microphones in other rooms would hear it, with its phonemes."""

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
"""Voices of espeak-ng that can be put on any language."""
WORDS_PER_MINUTE, PITCH = (120, 210), (15, 85)
TRACT = 0.12
"""Change of the vocal tract's length, and with it of pitch and speed, at most: a part of it."""
PAUSE_S = 1.0
"""Longest silence before and after a sentence, beside what the voice leaves itself: the recogniser's states run ahead of speech."""
ENGLISH = 0.35
"""Share of English, which the recogniser of phones knows best."""


class Utterance(NamedTuple):
    """A sentence: [samples] at SAMPLE_RATE, -1..1, and its phonemes in order of time."""

    samples: Float[np.ndarray, " samples"]
    phonemes: list[Phoneme]


def utterances(seconds: float, random: np.random.Generator) -> Iterator[Utterance]:
    """At least `seconds` of speech."""
    languages = list(TEXTS)
    english = np.array([language.startswith("en") for language in languages])
    share = np.where(english, ENGLISH / english.sum(), (1 - ENGLISH) / (~english).sum())
    while seconds > 0:
        language = languages[random.choice(len(languages), p=share)]
        speech = speak(
            TEXTS[language][random.integers(len(TEXTS[language]))],
            voice=f"{language}+{VARIANTS[random.integers(len(VARIANTS))]}",
            words_per_minute=int(random.integers(*WORDS_PER_MINUTE)),
            pitch=int(random.integers(*PITCH)),
        )
        # Played faster or slower, a voice gets another vocal tract, pitch and speed.
        slower = random.uniform(1 - TRACT, 1 + TRACT)
        samples = resample(speech.samples, round(len(speech.samples) * slower * SAMPLE_RATE / speech.rate))
        before, after = (random.uniform(0, PAUSE_S, 2) * SAMPLE_RATE).astype(int)
        samples = np.pad(samples, (before, after))
        phonemes = [Phoneme(p.name, before / SAMPLE_RATE + p.start * slower) for p in speech.phonemes]
        seconds -= len(samples) / SAMPLE_RATE
        yield Utterance(record(samples, random), phonemes)


def record(samples: Float[np.ndarray, " samples"], random: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """The sound in a room, through a microphone: reverberation, frequency response, hiss, loudness."""
    heard = color(reverberate(samples, random), random, spread=0.5)
    loud = np.sqrt(np.mean(heard**2))
    hiss = color(random.standard_normal(len(heard)), random, spread=1.0)
    heard += hiss / hiss.std() * loud * 10 ** (random.uniform(-60, -15) / 20)
    return (heard / loud * 10 ** (random.uniform(-32, -18) / 20)).clip(-1, 1).astype(np.float32)


def reverberate(samples: Float[np.ndarray, " samples"], random: np.random.Generator) -> Float[np.ndarray, " samples"]:
    """Adds the echoes of a room: noise that dies away, from 10 to 30 dB weaker than the voice."""
    seconds = random.uniform(0.1, 0.6)
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    echo = random.standard_normal(len(times)) * 10 ** (-3 * times / seconds) * (times > 0.003)
    echo *= 10 ** (random.uniform(-30, -10) / 20) / np.linalg.norm(echo)
    echo[0] = 1.0
    return fftconvolve(samples, echo)[: len(samples)]


def color(
    samples: Float[np.ndarray, " samples"], random: np.random.Generator, spread: float
) -> Float[np.ndarray, " samples"]:
    """A smooth random frequency response: four waves over the logarithm of frequency, each of standard deviation `spread` (neper)."""
    spectrum = np.fft.rfft(samples)
    hz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    place = np.log1p(hz / 100) / np.log1p(SAMPLE_RATE / 200)
    waves = np.cos(np.pi * np.arange(1, 5)[:, None] * place)
    return np.fft.irfft(spectrum * np.exp(spread * random.standard_normal(4) @ waves), len(samples))
