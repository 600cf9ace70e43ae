"""windows: the stretch of sound that each video frame is given."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

STEPS_PER_FRAME = 2
LENGTH = 16


def windows(
    features: Float[Tensor, "steps width"], frames: Int64[Tensor, " n"], length: int = LENGTH
) -> Float[Tensor, "n length width"]:
    """The window of every frame in `frames` (numbers from 0; index by time, gaps in the footage do not matter).

    Frame k sees steps 2k - length / 2 .. 2k + length / 2 - 1: as much before its own moment as after it. Steps before
    the start and after the end are zeros, which is silence.
    """
    steps = frames[:, None] * STEPS_PER_FRAME + torch.arange(-length // 2, length - length // 2, device=frames.device)
    inside = (steps >= 0) & (steps < len(features))
    return features[steps.clamp(0, len(features) - 1)] * inside[..., None]
