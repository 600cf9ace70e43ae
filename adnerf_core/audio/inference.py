"""Audio of any length to the codes of its video frames, chunk by chunk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adnerf_core.audio.chunking import chunk_audio
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.windows import STEPS_PER_FRAME

CONTEXT_FRAMES = 16
"""Frames of features on either side that a code may depend on. The fast fields need 4 (half a window of 16 steps), AudioAttNet 4
more for the neighbours that it averages; the rest is a reserve."""


@runtime_checkable
class AudioToCode(Protocol):
    """The part of a talking-head model that turns audio features into codes."""

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """Returns the codes of `frames`, numbered from the first step of `features`."""
        ...


def encode_stream(
    model: AudioToCode, extractor: AudioFeatures, pieces: Iterable[Float[np.ndarray, " _"]], device: torch.device
) -> Float[Tensor, "frames code"]:
    """Encodes all frames of an audio stream: what `encode_pieces` yields, as one tensor."""
    return torch.cat(list(encode_pieces(model, extractor, pieces, device)))


@torch.no_grad()
def encode_pieces(
    model: AudioToCode,
    extractor: AudioFeatures,
    pieces: Iterable[Float[np.ndarray, " _"]],
    device: torch.device,
    *,
    soon: bool = False,
) -> Iterator[Float[Tensor, "frames code"]]:
    """Encodes the frames of an audio stream while it arrives.

    The codes equal those of the whole audio at once. Features are kept for two chunks at most, whatever the length.

    Args:
        model: turns features into codes.
        extractor: turns audio into features; of the kind that `model` was trained with.
        pieces: consecutive samples in arrays of any lengths; mono at SAMPLE_RATE, -1..1.
        device: where `model` is.
        soon: the first codes are wanted soon (see chunk_audio).

    Yields:
        The codes of the next frames, one each, as soon as their context is known; a part of a frame at the end counts as one.
    """
    buffer, buffer_start = torch.zeros((0, extractor.width), device=device), 0  # features from this frame on
    encoded = 0  # frames that have a code
    for features in extractor.stream(chunk_audio(pieces, soon=soon and extractor.in_parts)):
        buffer = torch.cat([buffer, torch.from_numpy(features).to(device)])
        ready = buffer_start + len(buffer) // STEPS_PER_FRAME - CONTEXT_FRAMES  # frames whose context is complete
        if ready <= encoded:
            continue
        yield model.encode_audio(buffer, torch.arange(encoded, ready, device=device) - buffer_start)
        encoded, drop = ready, max(0, ready - CONTEXT_FRAMES - buffer_start)
        buffer, buffer_start = buffer[STEPS_PER_FRAME * drop :], buffer_start + drop
    count = buffer_start + -(-len(buffer) // STEPS_PER_FRAME)
    yield model.encode_audio(buffer, torch.arange(encoded, count, device=device) - buffer_start)
