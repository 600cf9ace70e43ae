"""MelPhonemes: the mel spectrogram and the phoneme features, side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.chunking import AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.mel import Mel
from adnerf_core.audio.moonshine import LAST_LAYER
from adnerf_core.audio.phonemes import DIRECTIONS, PhonemeFeatures


class MelPhonemes(AudioFeatures):
    """The numbers of Mel, followed by those of PhonemeFeatures."""

    spectrum_width = Mel.spectrum_width
    block_width = DIRECTIONS
    in_parts = True

    def __init__(self, layers: str = f"{LAST_LAYER}"):
        """Takes the layers of PhonemeFeatures, separated by commas; subjects of the earliest versions, whose features have no layers in
        their name, hear the last one.

        Raises:
            MissingBackend: the recogniser is not installed.
        """
        self.extractors = Mel(), PhonemeFeatures([int(layer) for layer in layers.split(",")])
        self.width = sum(extractor.width for extractor in self.extractors)

    def stream(self, chunks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures.

        Both extractors read the same chunks in lockstep, each from a queue of its own that holds one chunk at most: an extractor
        yields once per chunk. itertools.tee would not do: it frees items in large blocks only, and a chunk is 1.5 MB.
        """
        queues = [deque[AudioChunk]() for _ in self.extractors]
        streams = [extractor.stream(_drain(queue)) for extractor, queue in zip(self.extractors, queues, strict=True)]
        for chunk in chunks:
            for queue in queues:
                queue.append(chunk)
            yield np.concatenate([next(stream) for stream in streams], axis=1)


def _drain(queue: deque[AudioChunk]) -> Iterator[AudioChunk]:
    """Yields the chunks of a queue, without keeping a reference to them, until it is empty."""
    while queue:
        yield queue.popleft()
