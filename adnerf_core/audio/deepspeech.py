"""DeepSpeech: the paper's features. Imported datasets bring them; the recogniser itself is no longer to be had."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.chunking import AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.errors import MissingBackend

REMEDY = (
    "Import the folder again with --features mel+phones (it needs aud.wav) and train anew; "
    "the footage's own sound is rendered by `evaluate`."
)


class DeepSpeech(AudioFeatures):
    """29 character scores a step. They train a subject, but nothing here can make them of new speech."""

    width = 29

    def stream(self, blocks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """Raises MissingBackend."""
        raise MissingBackend("The subject hears through DeepSpeech 0.1, which is not here.", REMEDY)
