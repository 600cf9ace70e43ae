"""The interface that all audio feature extractors share, and the table of extractors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.chunking import RATE, AudioChunk, chunk_audio

AUDIO_FEATURES = {
    "mel": "adnerf_core.audio.mel:Mel",
    "mel+phones": "adnerf_core.audio.mel_phonemes:MelPhonemes",
    "wav2vec2": "adnerf_core.audio.huggingface:Wav2Vec2",
    "hubert": "adnerf_core.audio.huggingface:Hubert",
    "deepspeech": "adnerf_core.audio.deepspeech:DeepSpeech",
}
"""Module and class of each extractor, by the part of its name before the colon. A module is imported when its extractor is first used, so
the libraries of the others need not be installed. `deepspeech` is no config.FeatureName, because it cannot be computed; imported datasets
have these features, so its width and its error message are needed."""

LATEST = {"mel+phones": "mel+phones:2,3,5"}
"""Names that mean other features for new footage than for subjects of earlier versions, which are stored under the name alone."""


class Stream(NamedTuple):
    """The part of the features that one encoder reads: the first `spectrum` numbers of a step, followed by those of `block`."""

    spectrum: int
    block: slice

    @property
    def width(self) -> int:
        """Numbers per step."""
        return self.spectrum + self.block.stop - (self.block.start or 0)


class AudioFeatures(ABC):
    """Turns a waveform into one row of numbers per step.

    Step s describes the 1 / `rate` seconds of audio from s / `rate` on. Silence gives rows of zeros, or close to zero, so zeros
    stand for the time before the start and after the end of the audio.

    Attributes:
        rate: steps per second.
        width: numbers per step.
        spectrum_width: how many of them, from the first on, form a spectrum (>= 0, see Mel); augment may change the voice of
            these. 0 if there is no spectrum.
        block_width: how many of the numbers behind the spectrum are read by one encoder (see streams). 0: there is nothing behind it.
        in_parts: the features of a chunk that comes in parts (see chunk_audio) are those of the whole, but for what lies beyond the context.
    """

    rate: int = RATE
    width: int
    spectrum_width: int = 0
    block_width: int = 0
    in_parts: bool = False

    @abstractmethod
    def stream(self, chunks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """Yields the features of each chunk, without its context; memory does not grow with the number of chunks."""

    def __call__(self, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Computes the features of a whole waveform.

        Args:
            waveform: mono, -1..1, at config.SAMPLE_RATE.

        Returns:
            One row per step; a part of a step at the end counts as one.
        """
        return np.concatenate(list(self.stream(chunk_audio([waveform]))))


def feature_class(name: str) -> type[AudioFeatures]:
    """Returns the class of the extractor `name`: a key of AUDIO_FEATURES, optionally followed by a colon and anything.

    Raises:
        KeyError: the name is not in the table.
    """
    module, _, attribute = AUDIO_FEATURES[name.partition(":")[0]].partition(":")
    return getattr(import_module(module), attribute)


def latest_name(name: str) -> str:
    """Returns the name under which the features that a user calls `name` are computed and stored for new footage."""
    return LATEST.get(name, name)


def load_features(name: str) -> AudioFeatures:
    """Loads the extractor `name`.

    Args:
        name: a key of AUDIO_FEATURES; extractors with exchangeable weights take their folder or hub id after a colon, and
            `mel+phones` the layers of the recogniser.

    Raises:
        KeyError: the name is not in the table.
        MissingBackend: a library or weights that the extractor needs are not installed.
    """
    kind, _, model = name.partition(":")
    return feature_class(kind)(model) if model else feature_class(kind)()


def streams(name: str, width: int) -> tuple[Stream, ...]:
    """Returns what each encoder of a MultiStreamEncoder reads of the features `name`, which are `width` numbers.

    Of a spectrum and blocks behind it, an encoder for each block reads the spectrum and that block, and the last encoder reads the
    spectrum alone. Of other features, one encoder reads everything.
    """
    kind = feature_class(name)
    if not kind.block_width:
        return (Stream(0, slice(width)),)
    starts = range(kind.spectrum_width, width, kind.block_width)
    blocks = [slice(start, start + kind.block_width) for start in starts]
    return tuple(Stream(kind.spectrum_width, block) for block in (*blocks, slice(0)))
