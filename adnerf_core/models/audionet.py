"""AudioNet and AudioAttNet: the paper's way from sound to a code, learnt through the renderer."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

SLOPE = 0.02
BEFORE, AFTER = 4, 4
"""AudioAttNet smooths over the codes of the frames i - BEFORE .. i + AFTER - 1."""


class AudioNet(nn.Module):
    """A window of 16 steps -> a code: four convolutions halve the time until one step is left, two layers follow."""

    def __init__(self, width: int, code: int):
        """`width` is that of the audio features."""
        super().__init__()
        channels = [width, 32, 32, 64, 64]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv1d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels[-1], 64), nn.LeakyReLU(SLOPE), nn.Linear(64, code)
        )

    def forward(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n code"]:
        """The code of each window (see windows.windows)."""
        return self.layers(windows.transpose(1, 2))


class AudioAttNet(nn.Module):
    """Neighbouring codes -> their weighted mean; the weights follow from the codes themselves."""

    def __init__(self, code: int):
        super().__init__()
        channels = [code, 16, 8, 4, 2, 1]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv1d(before, after, 3, padding=1), nn.LeakyReLU(SLOPE)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(BEFORE + AFTER, BEFORE + AFTER), nn.Softmax(-1))

    def weights(self, codes: Float[Tensor, "n neighbours code"]) -> Float[Tensor, "n neighbours"]:
        """How much each neighbour counts; they sum to one."""
        return self.layers(codes.transpose(1, 2))

    def forward(self, codes: Float[Tensor, "n neighbours code"]) -> Float[Tensor, "n code"]:
        """The smoothed code of each frame, from its neighbours' codes in the order of time."""
        return torch.einsum("nk,nkc->nc", self.weights(codes), codes)
