"""DeepSpeech, the features of the AD-NeRF paper: known by name only, because the recogniser is no longer distributed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.chunking import AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.errors import MissingBackend

REMEDY = (
    "Import the folder again with --features mel+phones (this needs aud.wav) and train again. "
    "`evaluate` still renders the footage's own audio."
)


class DeepSpeech(AudioFeatures):
    """29 character scores per step. Imported folders bring them and can train a subject; new audio has none."""

    width = 29

    def stream(self, chunks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """Raises MissingBackend."""
        raise MissingBackend(
            "This subject needs DeepSpeech 0.1 features, which cannot be computed for new audio.", REMEDY
        )
