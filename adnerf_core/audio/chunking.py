"""Audio of any length as chunks of a fixed length, each with context before and after it.

Feature extractors work chunk by chunk, so their memory does not grow with the length of the audio.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from adnerf_core.config import SAMPLE_RATE

RATE = 50
"""Feature steps per second. wav2vec 2.0, HuBERT and DeepSpeech have this rate, and it gives two steps to a video frame."""
HOP = SAMPLE_RATE // RATE
"""Samples per feature step."""
CHUNK_SAMPLES = 20 * SAMPLE_RATE
"""Length of a chunk without its context. The time of a recogniser grows with the square of a chunk's length; with shorter chunks,
a larger share of the work is spent on context."""
FIRST_SAMPLES = 3 * SAMPLE_RATE
"""Length of the first part of a chunk of which the first features are wanted soon. Each further part is twice as long, so that it is heard
while the frames of the parts before are rendered."""
CONTEXT_SAMPLES = 2 * SAMPLE_RATE
"""Context on either side of a chunk. Recognisers use what follows: their hidden states run up to .4 s ahead of the speech
(docs/fidelity.md), so features at the edge of a chunk without context would differ from those of the whole audio."""


class AudioChunk(NamedTuple):
    """`count` samples from `samples[start]` on, and the context around them.

    Attributes:
        samples: the chunk with up to CONTEXT_SAMPLES of context before and after it; mono at SAMPLE_RATE, -1..1.
        start: number of samples of context before the chunk.
        count: length of the chunk without context: CHUNK_SAMPLES, or fewer in the last chunk of the audio and in parts of the first.
        around: of a part of a chunk, the samples of the whole chunk, by which its loudness is judged.
    """

    samples: Float[np.ndarray, " context"]
    start: int
    count: int
    around: Float[np.ndarray, " chunk"] | None = None

    @property
    def steps(self) -> int:
        """Feature steps of the chunk without context; a part of a step at the end counts as one."""
        return -(-self.count // HOP)


def chunk_audio(pieces: Iterable[Float[np.ndarray, " _"]], *, soon: bool = False) -> Iterator[AudioChunk]:
    """Cuts audio into chunks; the chunks do not depend on the pieces in which the audio arrives.

    Args:
        pieces: consecutive samples, in arrays of any lengths.
        soon: the first features are wanted soon, so the first chunk comes in parts, of which the first has FIRST_SAMPLES.

    Returns:
        The chunks in order. Without context they cover the audio exactly once; no audio gives no chunk.
    """
    chunks = _chunks(pieces)
    if soon:
        yield from (part for chunk in islice(chunks, 1) for part in _parts(chunk))
    yield from chunks


def _parts(chunk: AudioChunk) -> Iterator[AudioChunk]:
    """Cuts the first chunk of an audio into parts."""
    at, length = 0, FIRST_SAMPLES
    while at < chunk.count:
        first, end = max(0, at - CONTEXT_SAMPLES), min(at + length, chunk.count)
        yield AudioChunk(chunk.samples[first : end + CONTEXT_SAMPLES], at - first, end - at, chunk.samples)
        at, length = end, 2 * length


def _chunks(pieces: Iterable[Float[np.ndarray, " _"]]) -> Iterator[AudioChunk]:
    buffer, start = np.zeros(0, np.float32), 0
    for piece in pieces:
        buffer = np.concatenate([buffer, piece.astype(np.float32, copy=False)])
        while len(buffer) >= start + CHUNK_SAMPLES + CONTEXT_SAMPLES:
            yield AudioChunk(buffer[: start + CHUNK_SAMPLES + CONTEXT_SAMPLES], start, CHUNK_SAMPLES)
            buffer, start = buffer[start + CHUNK_SAMPLES - CONTEXT_SAMPLES :], CONTEXT_SAMPLES
    while len(buffer) > start:
        count = min(CHUNK_SAMPLES, len(buffer) - start)
        yield AudioChunk(buffer[: start + CHUNK_SAMPLES + CONTEXT_SAMPLES], start, count)
        buffer, start = buffer[start + CHUNK_SAMPLES - CONTEXT_SAMPLES :], CONTEXT_SAMPLES
