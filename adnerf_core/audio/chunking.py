"""Blocks: sound of any length in pieces of a fixed one, each with a look at what comes before and after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from adnerf_core.config import SAMPLE_RATE

RATE = 50
"""Steps a second of all features."""
HOP = SAMPLE_RATE // RATE
CHUNK_SAMPLES = 20 * SAMPLE_RATE
CONTEXT_SAMPLES = 2 * SAMPLE_RATE


class AudioChunk(NamedTuple):
    """`count` samples (CHUNK_SAMPLES, fewer in the last one) from samples[before] on; the rest are margins, up to CONTEXT_SAMPLES each."""

    samples: Float[np.ndarray, " context"]
    before: int
    count: int

    @property
    def steps(self) -> int:
        """Steps of features of the block; a part of a step at the end counts as one."""
        return -(-self.count // HOP)


def chunk_audio(pieces: Iterable[Float[np.ndarray, " _"]]) -> Iterator[AudioChunk]:
    """Cuts a sound that comes in pieces of any lengths into blocks, which do not depend on those lengths."""
    held, before = np.zeros(0, np.float32), 0
    for piece in pieces:
        held = np.concatenate([held, piece.astype(np.float32, copy=False)])
        while len(held) >= before + CHUNK_SAMPLES + CONTEXT_SAMPLES:
            yield AudioChunk(held[: before + CHUNK_SAMPLES + CONTEXT_SAMPLES], before, CHUNK_SAMPLES)
            held, before = held[before + CHUNK_SAMPLES - CONTEXT_SAMPLES :], CONTEXT_SAMPLES
    while len(held) > before:
        yield AudioChunk(
            held[: before + CHUNK_SAMPLES + CONTEXT_SAMPLES], before, min(CHUNK_SAMPLES, len(held) - before)
        )
        held, before = held[before + CHUNK_SAMPLES - CONTEXT_SAMPLES :], CONTEXT_SAMPLES
