"""AudioEncoder: from a window of sound to the lip code, as AD-NeRF's AudioNet, but a small ensemble of it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from adnerf_core.audio.windows import LENGTH

MEMBERS = 10
CHANNELS = 32
SLOPE = 0.02


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
