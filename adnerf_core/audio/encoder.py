"""AudioEncoder, an ensemble of small networks from a window of audio features to the lip code, and MultiStreamEncoder, several of them.

Each network is built like AudioNet of AD-NeRF (Guo et al., 2021), but is trained by regression (see train_encoder).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from adnerf_core.audio.features import Stream
from adnerf_core.audio.windows import LENGTH

MEMBERS = 10
"""Networks in an ensemble: two for each of the five folds of the cross-validation (see train_encoder), which needs two."""
CHANNELS = 32
"""Channels of a network's first layers, as in AudioNet."""
LEAKY_SLOPE = 0.02
"""Slope of the leaky ReLU for negative input, as in AudioNet."""
HALF_WEIGHT_S = 260.0
"""Seconds of speech with which the encoder of the spectrum gets the weight 1/2. For 46 s of footage, .15 follows the own voice as well
as .2 does, and others a little better (docs/fidelity.md); t / (t + 260 s) gives .15."""
LEARNT_HALF_WEIGHT_S = 900.0
"""The same if the other encoders start from a learnt prior of lips, which makes them better for other voices: .05 for 46 s. With .15 the
lips have .80 and .77 of other people's amplitude (two seeds), with .05 .84 and .81, and follow them a little better (docs/fidelity.md)."""


class AudioEncoder(nn.Module):
    """MEMBERS convolutional networks side by side, as grouped convolutions. The prediction is their mean, times a gain.

    A minute of speech is little data: networks with different initial weights and training sets make different errors, which partly
    cancel in the mean.

    Attributes:
        mean, spread: [width] mean and standard deviation of the features in training, by which features are standardised.
        gain: [lip_code] factor that restores the amplitude that regression takes from lip codes (see train_encoder.calibrate).
    """

    mean: Tensor
    spread: Tensor
    gain: Tensor

    def __init__(self, width: int, lip_code: int):
        """Creates an encoder from features of `width` numbers per step to codes of `lip_code` numbers."""
        super().__init__()
        self.lip_code = lip_code
        channels = CHANNELS * MEMBERS
        self.layers = nn.ModuleList(  # 16 steps -> 8 -> 4 -> 2 -> 1
            [
                nn.Conv1d(width, channels, 3, stride=2, padding=1),
                nn.Conv1d(channels, channels, 3, stride=2, padding=1, groups=MEMBERS),
                nn.Conv1d(channels, 2 * channels, 3, stride=2, padding=1, groups=MEMBERS),
                nn.Conv1d(2 * channels, 2 * channels, LENGTH // 8, groups=MEMBERS),
                nn.Conv1d(2 * channels, 2 * channels, 1, groups=MEMBERS),
            ]
        )
        self.last = nn.Conv1d(2 * channels, lip_code * MEMBERS, 1, groups=MEMBERS)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))
        self.register_buffer("gain", torch.ones(lip_code))

    def member_codes(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n members code"]:
        """Predicts a code with each network, without the gain."""
        hidden = ((windows - self.mean) / self.spread).transpose(1, 2)
        for layer in self.layers:
            hidden = F.leaky_relu(layer(hidden), LEAKY_SLOPE)
        return self.last(hidden).view(len(windows), MEMBERS, self.lip_code)

    def forward(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n code"]:
        """Predicts lip codes (see LipPca), in standard deviations, for the middle of `windows` (see windows.windows)."""
        return self.member_codes(windows).mean(1) * self.gain


def select(features: Float[Tensor, "*n width"], stream: Stream) -> Float[Tensor, "*n part"]:
    """Returns the part of the features that `stream` names."""
    return torch.cat([features[..., : stream.spectrum], features[..., stream.block]], dim=-1)


class MultiStreamEncoder(nn.Module):
    """AudioEncoders that read different parts of the features; the code is the weighted mean of theirs.

    A single encoder reads everything. Of several, the last reads the spectrum alone, and each of the others the spectrum and the phonemes
    that one layer of the recogniser has. These others start from pretrained weights and generalise to other voices; the last knows the
    subject's voice only, and knows it better the more footage there is. All make different errors, so their mean is better for other
    voices than each of the former, and nearly as good as the last for the subject's own.

    Attributes:
        streams: what each encoder reads (see features.streams).
        share: the buffer behind `spectrum_weight`; the name is a key of saved models.
    """

    share: Tensor

    def __init__(self, streams: Sequence[Stream], lip_code: int):
        """Creates an encoder for each of `streams`, with codes of `lip_code` numbers."""
        super().__init__()
        self.lip_code = lip_code
        self.streams = tuple(streams)
        self.encoders = nn.ModuleList(AudioEncoder(stream.width, lip_code) for stream in self.streams)
        self.register_buffer("share", torch.tensor(0.0))

    @property
    def spectrum_weight(self) -> Tensor:
        """Weight of the last encoder in the mean, 0..1. The others share the rest equally."""
        return self.share

    def set_spectrum_weight(self, seconds: float, *, learnt: bool = False) -> None:
        """Sets the weight of the last encoder: t / (t + HALF_WEIGHT_S), or with LEARNT_HALF_WEIGHT_S.

        Args:
            seconds: t, the speech in training.
            learnt: whether the others start from a learnt prior of lips.
        """
        self.share.fill_(seconds / (seconds + (LEARNT_HALF_WEIGHT_S if learnt else HALF_WEIGHT_S)))

    def forward(self, windows: Float[Tensor, "n steps width"]) -> Float[Tensor, "n code"]:
        """Predicts lip codes, in standard deviations, for the middle of `windows`."""
        codes = [encoder(select(windows, stream)) for stream, encoder in zip(self.streams, self.encoders, strict=True)]
        if len(codes) == 1:
            return codes[0]
        *phonemes, spectrum = codes
        return torch.stack(phonemes).mean(0).lerp(spectrum, self.spectrum_weight)
