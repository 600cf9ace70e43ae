"""PhonemeFeatures: which sounds of speech are heard, as the directions in which a recogniser's hidden states tell phones apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load
from scipy.ndimage import maximum_filter1d

from adnerf_core.audio.chunking import HOP, RATE, AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.moonshine import MoonshineEncoder

FILE = files("adnerf_core.audio") / "phones.safetensors"
FADE_DB = (-50.0, -30.0)
"""Loudness of a step, beside LOUD, at which it begins to count and from which it counts whole. The recogniser's states run ahead of
speech by up to .4 s, and lips that followed them would open too early."""
LOUD = 90
"""Percentile of a block's steps that is taken for the loudness of its speech."""
FAINTEST = 1e-4
"""Amplitude (of 1) below which a step is silent, however faint the rest is."""


def voice_activity(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " steps"]:
    """How much each step of HOP samples counts, 0..1: silence does not, speech and what touches it does."""
    padded = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
    amplitude = maximum_filter1d(np.sqrt(np.mean(padded**2, axis=1)), 3)
    loudness = 20 * np.log10(np.maximum(amplitude, FAINTEST))
    begins, whole = FADE_DB
    share = (loudness - np.percentile(loudness, LOUD) - begins) / (whole - begins)
    return share.clip(0, 1) * (amplitude > FAINTEST)


class PhonemeFeatures(AudioFeatures):
    """Linear discriminants of phones (Fisher, 1936), RATE steps a second, in standard deviations within a phone.

    Silence is the origin. The discriminants are found in synthetic speech of many languages, whose phones are known; what the
    recogniser tells of voices and rooms counts as spread within phones there, and so is left out.
    `python -m audio_pretraining` makes FILE again.
    """

    rate = RATE
    width = 40

    def __init__(self):
        """Raises MissingBackend where the recogniser is not installed."""
        self._recogniser = MoonshineEncoder()
        discriminants = load(FILE.read_bytes())
        self._silence, self._directions = discriminants["silence"], discriminants["directions"]

    def stream(self, blocks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures. Every block is recognised by itself, with its margins."""
        for block in blocks:
            states, heard = self._recogniser(block.samples), voice_activity(block.samples)
            phones = (states - self._silence) @ self._directions * heard[:, None]
            yield phones[block.before // HOP :][: block.steps].astype(np.float32)
