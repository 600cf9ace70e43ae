"""Augmentation of feature windows: variations in voice, microphone and loudness, and gaps, from the recordings of one voice.

In a study of 17 clips, augmentation of mel features raised the correlation of predicted and true mouth opening from .40 to .43 for
unseen speakers, and lowered it from .62 to .56 for the trained one.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MAX_STRETCH, MAX_SHIFT = 0.04, 0.2
"""Largest stretch of the band axis (relative) and largest shift of it (bands). Together they move a formant at 1.8 kHz by up to 7 % and
one at 7 kHz by up to 11 %: about the range of vocal tract length perturbation (Jaitly and Hinton, 2013), 10 %."""
EQUALIZER_STD, EQUALIZER_WAVES = 0.15, 3
"""A random frequency response is a sum of one constant and EQUALIZER_WAVES cosines over the bands, whose coefficients have this standard
deviation, in neper: 2 dB of root mean square in all."""
MAX_MASKED_STEPS, MAX_MASKED_BANDS, BAND_MASKS = 2, 8, 2
"""Longest masked run of steps, widest masked run of bands, and number of the latter, as in SpecAugment (Park et al., 2019): no single
moment and no tenth of the spectrum may be decisive. A window has 16 steps and 80 bands."""


def augment(
    windows: Float[Tensor, "n steps width"], spectrum_width: int, generator: torch.Generator
) -> Float[Tensor, "n steps width"]:
    """Augments each window differently.

    Args:
        windows: windows of features.
        spectrum_width: number of features, from the first on, that are mel bands (>= 0, see Mel). The other features are masked in
            time only.
        generator: a CPU generator, so that a seed gives the same numbers on every device.
    """
    spectrum, others = windows.split((spectrum_width, windows.shape[2] - spectrum_width), dim=2)
    if spectrum_width:
        spectrum = equalize(warp(spectrum, generator), generator)
        for _ in range(BAND_MASKS):
            mask = random_mask(len(spectrum), spectrum_width, MAX_MASKED_BANDS, generator, spectrum.device)
            spectrum = spectrum.masked_fill(mask[:, None], 0.0)
    features = torch.cat([spectrum, others], 2)
    mask = random_mask(len(features), features.shape[1], MAX_MASKED_STEPS, generator, features.device)
    return features.masked_fill(mask[:, :, None], 0.0)


def warp(windows: Float[Tensor, "n steps bands"], generator: torch.Generator) -> Float[Tensor, "n steps bands"]:
    """Stretches and shifts the bands of each window, by linear interpolation, as another vocal tract would."""
    n, _, bands = windows.shape
    stretch, shift = 2 * torch.rand((2, n, 1), generator=generator) - 1
    position = torch.arange(bands) * (1 + MAX_STRETCH * stretch) + MAX_SHIFT * shift
    position = position.clamp(0, bands - 1).to(windows.device, non_blocking=True)
    lower = position.long().clamp(max=bands - 2)
    weight = (position - lower)[:, None]
    lower = lower[:, None].expand_as(windows)
    return windows.gather(2, lower) * (1 - weight) + windows.gather(2, lower + 1) * weight


def equalize(windows: Float[Tensor, "n steps bands"], generator: torch.Generator) -> Float[Tensor, "n steps bands"]:
    """Applies a random loudness and smooth frequency response to each window; silence stays silence.

    Mel features are log(1 + a) of relative amplitudes a, so a response g gives log(1 + g a).
    """
    n, _, bands = windows.shape
    phase = math.pi * torch.linspace(0, 1, bands) * torch.arange(EQUALIZER_WAVES + 1)[:, None]
    response = EQUALIZER_STD * torch.randn((n, EQUALIZER_WAVES + 1), generator=generator) @ torch.cos(phase)
    return torch.log1p(torch.expm1(windows) * response.exp()[:, None].to(windows.device, non_blocking=True))


def random_mask(
    n: int, length: int, longest: int, generator: torch.Generator, device: torch.device
) -> Bool[Tensor, "n length"]:
    """Draws one run of 0 to `longest` true values in each row; a run that would leave the row is cut off."""
    start = torch.randint(length, (n, 1), generator=generator)
    end = start + torch.randint(longest + 1, (n, 1), generator=generator)
    position = torch.arange(length)
    return ((position >= start) & (position < end)).to(device, non_blocking=True)
