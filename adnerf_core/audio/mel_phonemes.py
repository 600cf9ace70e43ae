"""MelPhones: how it sounds and what is said, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.chunking import AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.mel import Mel
from adnerf_core.audio.phonemes import PhonemeFeatures


class MelPhones(AudioFeatures):
    """The numbers of Mel, then those of PhonemeFeatures."""

    width = Mel.width + PhonemeFeatures.width
    spectrum = Mel.spectrum

    def __init__(self):
        """Raises MissingBackend where the recogniser is not installed."""
        self.parts = Mel(), PhonemeFeatures()

    def stream(self, blocks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures."""
        at_hand: list[AudioChunk] = []

        def each() -> Iterator[AudioChunk]:  # itertools.tee would keep blocks that both parts are done with
            while True:
                yield at_hand.pop()

        streams = [part.stream(each()) for part in self.parts]
        for block in blocks:
            at_hand[:] = [block] * len(streams)
            yield np.concatenate([next(stream) for stream in streams], axis=1)
