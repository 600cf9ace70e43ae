"""Audio features: what all extractors have in common, and the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from importlib import import_module

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.chunking import RATE, AudioChunk, chunk_audio

AUDIO_FEATURES = {
    "mel": "adnerf_core.audio.mel:Mel",
    "mel+phones": "adnerf_core.audio.mel_phonemes:MelPhones",
    "wav2vec2": "adnerf_core.audio.huggingface:Wav2Vec2",
    "hubert": "adnerf_core.audio.huggingface:Hubert",
    "deepspeech": "adnerf_core.audio.deepspeech:DeepSpeech",
}
"""Extractors by the first part of their name (config.FeatureName), loaded when first asked for."""


class AudioFeatures(ABC):
    """Turns a waveform into one row of numbers a step.

    Step s describes the 1 / `rate` s of sound from s / `rate` s on; silence is a row of zeros, or close to it,
    so that zeros may stand for what lies before the start and after the end.
    """

    rate: int = RATE
    """Steps a second."""
    width: int
    """Numbers a step."""
    spectrum: int = 0
    """How many of them, from the first on, are a spectrum (>= 0, see Mel) that augment may hear through another mouth."""

    @abstractmethod
    def stream(self, blocks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """Features of each block of a sound, in memory that does not grow with its length."""

    def __call__(self, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Features of mono float samples in -1..1 at config.SAMPLE_RATE; a part of a step at the end counts as one."""
        return np.concatenate(list(self.stream(chunk_audio([waveform]))))


def feature_class(name: str) -> type[AudioFeatures]:
    """The class of the extractor called `name`: a key of AUDIO_FEATURES, and after a colon anything. Raises KeyError."""
    module, _, attribute = AUDIO_FEATURES[name.partition(":")[0]].partition(":")
    return getattr(import_module(module), attribute)


def load_features(name: str) -> AudioFeatures:
    """The extractor called `name`; after a colon stands the folder or hub id of weights, where it needs some.

    Raises KeyError for a name that is not in the table, MissingBackend where something that the extractor needs is missing.
    """
    kind, _, model = name.partition(":")
    return feature_class(kind)(model) if model else feature_class(kind)()


def stream_widths(name: str, width: int) -> tuple[int, ...]:
    """How many of the `width` numbers a step of the features `name` each of a subject's encoders hears (see Listeners)."""
    spectrum = feature_class(name).spectrum
    return (width, spectrum) if 0 < spectrum < width else (width,)
