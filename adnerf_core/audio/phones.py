"""Phones: which sounds of speech are heard, as the directions in which a recogniser's hidden states tell phones apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files

import numpy as np
from jaxtyping import Bool, Float
from safetensors.numpy import load

from adnerf_core.audio.blocks import HOP, RATE, Block
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.recogniser import Recogniser

FILE = files("adnerf_core.audio") / "phones.safetensors"
FAINTEST = 1e-4
"""Amplitude (of 1) below which a step is silent. The recogniser takes a steady level, whichever, for the usual one."""


class Phones(AudioFeatures):
    """Linear discriminants of phones (Fisher, 1936), RATE steps a second, in standard deviations within a phone.

    Silence is the origin. The discriminants are found in synthetic speech of many languages, whose phones are known; what the
    recogniser tells of voices and rooms counts as spread within phones there, and so is left out. `python -m prior` makes FILE again.
    """

    rate = RATE
    width = 40

    def __init__(self):
        """Raises MissingBackend where the recogniser is not installed."""
        self._recogniser = Recogniser()
        discriminants = load(FILE.read_bytes())
        self._silence, self._directions = discriminants["silence"], discriminants["directions"]

    def stream(self, blocks: Iterable[Block]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures. Every block is recognised by itself, with its margins."""
        for block in blocks:
            states = self._recogniser(block.samples)[block.before // HOP :][: block.steps]
            phones = (states - self._silence) @ self._directions
            yield (phones * self.audible(block)[:, None]).astype(np.float32)

    @staticmethod
    def audible(block: Block) -> Bool[np.ndarray, " steps"]:
        """Which steps of a block can be heard."""
        own = block.samples[block.before : block.before + block.count]
        padded = np.pad(own, (0, block.steps * HOP - block.count))
        return np.sqrt(np.mean(padded.reshape(-1, HOP) ** 2, axis=1)) > FAINTEST
