"""The window of audio features that belongs to each video frame."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from adnerf_core.audio.chunking import RATE
from adnerf_core.config import FPS

STEPS_PER_FRAME = RATE // FPS
LENGTH = 16
"""Steps in a window, as in AD-NeRF: .32 s. AudioNet halves it four times to get to one step; AudioEncoder needs a multiple of 8."""


def windows(features: Float[Tensor, "steps width"], frames: Int64[Tensor, " n"]) -> Float[Tensor, "n length width"]:
    """Cuts the feature window of each video frame.

    The window of frame k holds the steps 2k - 8 to 2k + 7, half of it before the frame's time and half after it. Steps before the
    start and after the end of the features are zeros, which stand for silence.

    Args:
        features: features of the audio from time 0 on.
        frames: frame numbers in time (frame k is at k / FPS seconds), in any order.
    """
    steps = frames[:, None] * STEPS_PER_FRAME + torch.arange(-LENGTH // 2, LENGTH // 2, device=frames.device)
    inside = (steps >= 0) & (steps < len(features))
    return features[steps.clamp(0, len(features) - 1)] * inside[..., None]
