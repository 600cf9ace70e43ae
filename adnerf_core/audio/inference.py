"""hear: the codes of a sound of any length, block by block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from adnerf_core.audio.chunking import chunk_audio
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.audio.windows import STEPS_PER_FRAME

CONTEXT = 16
"""Frames either side that a code may depend on: half a window, and the neighbours that the paper's attention looks at."""


@runtime_checkable
class AudioToCode(Protocol):
    """See likeness.Likeness."""

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]: ...


@torch.no_grad()
def encode_stream(
    portrait: AudioToCode, extractor: AudioFeatures, pieces: Iterable[Float[np.ndarray, " _"]], device: torch.device
) -> Float[Tensor, "frames code"]:
    """The codes of all frames of a sound (mono at SAMPLE_RATE, -1..1) that comes in pieces; a part of a frame counts as one.

    Features are kept for two blocks at most, whatever the length. The codes are those that the whole sound has at once.
    """
    held, first = torch.zeros((0, extractor.width), device=device), 0  # features from frame `first` on
    codes: list[Tensor] = []
    done = 0
    for features in extractor.stream(chunk_audio(pieces)):
        held = torch.cat([held, torch.from_numpy(features).to(device)])
        ready = first + len(held) // STEPS_PER_FRAME - CONTEXT
        if ready <= done:
            continue
        codes.append(portrait.encode_audio(held, torch.arange(done, ready, device=device) - first))
        done, passed = ready, max(0, ready - CONTEXT - first)
        held, first = held[STEPS_PER_FRAME * passed :], first + passed
    frames = first + -(-len(held) // STEPS_PER_FRAME)
    return torch.cat([*codes, portrait.encode_audio(held, torch.arange(done, frames, device=device) - first)])
