"""AudioNet and AudioAttNet: the paper's audio encoder, trained through the renderer (AD-NeRF, section 3.2)."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

NEGATIVE_SLOPE = 0.02
"""Slope of LeakyReLU below zero, as in the published code."""
BEFORE, AFTER = 4, 4
"""AudioAttNet averages the codes of frames i - BEFORE .. i + AFTER - 1: eight neighbours, as published."""


class AudioNet(nn.Module):
    """Encodes a window of 16 steps of audio features: four convolutions of stride 2 reduce it to one step, two linear layers follow."""

    def __init__(self, width: int, code: int):
        """`width` is that of the audio features, `code` that of the result."""
        super().__init__()
        channels = [width, 32, 32, 64, 64]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv1d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels[-1], 64), nn.LeakyReLU(NEGATIVE_SLOPE), nn.Linear(64, code)
        )

    def forward(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n code"]:
        """Returns the code of each window (see audio.windows)."""
        return self.layers(windows.transpose(1, 2))


class AudioAttNet(nn.Module):
    """Averages the codes of neighbouring frames, with weights that are computed from the codes themselves."""

    def __init__(self, code: int):
        """`code` is the width of a code."""
        super().__init__()
        channels = [code, 16, 8, 4, 2, 1]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv1d(before, after, 3, padding=1), nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(BEFORE + AFTER, BEFORE + AFTER), nn.Softmax(-1))

    def weights(self, codes: Float[Tensor, "n neighbours code"]) -> Float[Tensor, "n neighbours"]:
        """Returns the weight of each neighbour; the weights of a frame sum to one."""
        return self.layers(codes.transpose(1, 2))

    def forward(self, codes: Float[Tensor, "n neighbours code"]) -> Float[Tensor, "n code"]:
        """Returns the smoothed code of each frame, given its neighbours' codes in temporal order."""
        return torch.einsum("nk,nkc->nc", self.weights(codes), codes)
