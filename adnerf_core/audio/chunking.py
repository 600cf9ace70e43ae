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
BLOCK = 20 * SAMPLE_RATE
MARGIN = 2 * SAMPLE_RATE


class Block(NamedTuple):
    """`count` samples (BLOCK, fewer in the last one) from samples[before] on; the rest are margins, up to MARGIN each."""

    samples: Float[np.ndarray, " context"]
    before: int
    count: int

    @property
    def steps(self) -> int:
        """Steps of features of the block; a part of a step at the end counts as one."""
        return -(-self.count // HOP)


def blocks(pieces: Iterable[Float[np.ndarray, " _"]]) -> Iterator[Block]:
    """Cuts a sound that comes in pieces of any lengths into blocks, which do not depend on those lengths."""
    held, before = np.zeros(0, np.float32), 0
    for piece in pieces:
        held = np.concatenate([held, piece.astype(np.float32, copy=False)])
        while len(held) >= before + BLOCK + MARGIN:
            yield Block(held[: before + BLOCK + MARGIN], before, BLOCK)
            held, before = held[before + BLOCK - MARGIN :], MARGIN
    while len(held) > before:
        yield Block(held[: before + BLOCK + MARGIN], before, min(BLOCK, len(held) - before))
        held, before = held[before + BLOCK - MARGIN :], MARGIN
