"""PhonemeFeatures: which phoneme is spoken, as linear discriminants of a recogniser's hidden states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load
from scipy.ndimage import maximum_filter1d

from adnerf_core.audio.chunking import HOP, RATE, AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.moonshine import LAST_LAYER, MoonshineEncoder

FILES = {
    2: files("adnerf_core.audio") / "phones_2.safetensors",
    3: files("adnerf_core.audio") / "phones_3.safetensors",
    LAST_LAYER: files("adnerf_core.audio") / "phones.safetensors",
}
"""The discriminants of each layer of the recogniser whose states are used. In the middle the states follow what is heard; towards the last
they follow what is understood, in English. Networks on each of them make different errors: other voices are followed with a correlation
of .60, .61 and .56, and by the mean of the three with .62 (docs/fidelity.md)."""
DIRECTIONS = 40
"""Discriminants of a layer. 24 follow other voices less well (correlation .48 instead of .50 before a subject's own training), 48 no
better (docs/fidelity.md)."""
FADE_DB = (-50.0, -30.0)
"""Level of a step, relative to the chunk's speech, below which it counts 0 and above which it counts 1; linear between. The
recogniser's states run ahead of the speech by up to .4 s, so without fading the lips would open during the pause before a word. Chosen
among three ranges: fading from 30 to 45 dB below the speech, other voices are followed less well; from 40 to 55 dB, lips are opened
wider in silence (docs/fidelity.md)."""
SPEECH_PERCENTILE = 90
"""Percentile of the levels of a chunk's steps that is taken for the level of its speech."""
MIN_AMPLITUDE = 1e-4
"""Amplitude (of 1) below which a step is silent, however soft the rest of the chunk is."""


def voice_activity(
    samples: Float[np.ndarray, " samples"], around: Float[np.ndarray, " more"] | None = None
) -> Float[np.ndarray, " steps"]:
    """Returns a weight in 0..1 for each step of HOP samples: 0 in silence, 1 in speech and in the steps next to it.

    The weight follows the level of the loudest of a step and its two neighbours (see FADE_DB). The level of speech is that of `around`,
    which has `samples` as a part, or else their own.
    """
    amplitude = _amplitude(samples)
    level_db = _level_db(amplitude)
    speech_db = np.percentile(level_db if around is None else _level_db(_amplitude(around)), SPEECH_PERCENTILE)
    silent, full = FADE_DB
    weight = (level_db - speech_db - silent) / (full - silent)
    return weight.clip(0, 1) * (amplitude > MIN_AMPLITUDE)


def _amplitude(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " steps"]:
    """Returns the amplitude of each step, or of a neighbour that is louder."""
    padded = np.pad(samples, (0, -len(samples) % HOP)).reshape(-1, HOP)
    return maximum_filter1d(np.sqrt(np.mean(padded**2, axis=1)), 3)


def _level_db(amplitude: Float[np.ndarray, " steps"]) -> Float[np.ndarray, " steps"]:
    return 20 * np.log10(np.maximum(amplitude, MIN_AMPLITUDE))


class PhonemeFeatures(AudioFeatures):
    """Linear discriminants of phonemes (Fisher, 1936), in standard deviations within a phoneme; silence is the origin.

    The discriminants are directions in the hidden states of MoonshineEncoder, found in synthetic speech of many languages whose
    phonemes are known. Voice and room vary within each phoneme there, so the discriminants suppress both. They are multiplied by
    voice_activity. Each layer gives DIRECTIONS numbers; the layers follow each other.
    """

    rate = RATE
    in_parts = True

    def __init__(self, layers: Sequence[int] = tuple(FILES)):
        """Takes keys of FILES. Raises MissingBackend if the recogniser is not installed."""
        self.width = DIRECTIONS * len(layers)
        self._recogniser = MoonshineEncoder(layers)
        self._discriminants = [load(FILES[layer].read_bytes()) for layer in layers]

    def stream(self, chunks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures. Each chunk is recognised by itself, together with its context."""
        for chunk in chunks:
            states, weight = self._recogniser(chunk.samples), voice_activity(chunk.samples, chunk.around)
            blocks = [
                (layer - known["silence"]) @ known["directions"]
                for layer, known in zip(states, self._discriminants, strict=True)
            ]
            phonemes = np.concatenate(blocks, axis=1) * weight[:, None]
            yield phonemes[chunk.start // HOP :][: chunk.steps].astype(np.float32)
