"""AudioEncoder: from a window of sound to the lip code, as AD-NeRF's AudioNet, but a small ensemble of it; and TwoStreamEncoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from adnerf_core.audio.windows import LENGTH

MEMBERS = 10
CHANNELS = 32
SLOPE = 0.02
HALF_WEIGHT_S = 60.0
"""Seconds of speech after which the second of two TwoStreamEncoder counts as much as the first."""


class AudioEncoder(nn.Module):
    """MEMBERS convolutional nets side by side (grouped convolutions), whose mean is the answer.

    A minute of speech is little: nets that start and learn differently make different mistakes, and their mean fewer.
    State beside the weights: `mean` and `spread` of the features in training, and the `gain` that gives lip codes the
    spread that regression takes from them (see fit.calibrate).
    """

    mean: Tensor
    spread: Tensor
    gain: Tensor

    def __init__(self, width: int, lip_code: int):
        super().__init__()
        self.lip_code = lip_code
        each = CHANNELS * MEMBERS
        self.layers = nn.ModuleList(
            [
                nn.Conv1d(width, each, 3, stride=2, padding=1),
                nn.Conv1d(each, each, 3, stride=2, padding=1, groups=MEMBERS),
                nn.Conv1d(each, 2 * each, 3, stride=2, padding=1, groups=MEMBERS),
                nn.Conv1d(2 * each, 2 * each, LENGTH // 8, groups=MEMBERS),
                nn.Conv1d(2 * each, 2 * each, 1, groups=MEMBERS),
            ]
        )
        self.last = nn.Conv1d(2 * each, lip_code * MEMBERS, 1, groups=MEMBERS)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("gain", torch.ones(lip_code))

    def members(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n members code"]:
        """What each net says, without the gain."""
        hidden = ((windows - self.mean) / self.spread).transpose(1, 2)
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), SLOPE)
        return self.last(hidden).view(len(windows), MEMBERS, self.lip_code)

    def forward(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n code"]:
        """Lip codes (standard deviations, see LipShape) in the middle of `windows` (see windows.windows)."""
        return self.members(windows).mean(1) * self.gain


class TwoStreamEncoder(nn.Module):
    """One AudioEncoder or two, each of which hears some of the features; what they say together is the answer.

    The first hears all. The second hears the spectrum alone, where the features are that and something more: trained on
    its own, it finds what the first, which leans on phones and on a prior, passes over. It knows the subject's voice only, and
    the better the more there is of it: `share` is what it counts for, 0 .. 1.
    """

    share: Tensor

    def __init__(self, hears: Sequence[int], lip_code: int):
        """`hears` has for each encoder how many numbers of a step, from the first on, it hears (see features.parts)."""
        super().__init__()
        self.lip_code = lip_code
        self.hears = tuple(hears)
        self.encoders = nn.ModuleList(AudioEncoder(width, lip_code) for width in self.hears)
        self.register_buffer("share", torch.tensor(0.0))

    def trust(self, seconds: float) -> None:
        """Sets `share` by how much speech there was to learn from (docs/fidelity.md)."""
        self.share.fill_(seconds / (seconds + HALF_WEIGHT_S))

    def forward(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n code"]:
        """Lip codes (standard deviations) in the middle of `windows`."""
        said = [encoder(windows[..., :width]) for width, encoder in zip(self.hears, self.encoders, strict=True)]
        return said[0] if len(said) == 1 else torch.lerp(*said, self.share)
