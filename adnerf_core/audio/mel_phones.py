"""MelPhones: how it sounds and what is said, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import tee

import numpy as np
from jaxtyping import Float

from adnerf_core.audio.blocks import Block
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.mel import Mel
from adnerf_core.audio.phones import Phones


class MelPhones(AudioFeatures):
    """The numbers of Mel, then those of Phones."""

    width = Mel.width + Phones.width
    spectrum = Mel.spectrum

    def __init__(self):
        """Raises MissingBackend where pocketsphinx is not installed."""
        self.parts = Mel(), Phones()

    def stream(self, blocks: Iterable[Block]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures."""
        streams = (part.stream(copy) for part, copy in zip(self.parts, tee(blocks), strict=True))
        for both in zip(*streams, strict=True):
            yield np.concatenate(both, axis=1)
