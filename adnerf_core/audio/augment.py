"""augment: other voices, microphones and rooms, made from the one voice there is."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

STRETCH, SHIFT = 0.04, 0.2
"""Largest change of the vocal tract's length (part of it) and of the lowest band (bands): other people's formants."""
EQUALISER, WAVES = 0.15, 3
"""Standard deviation (of a logarithm) of each of so many waves over the bands that make another microphone's response."""
MASKED_STEPS, MASKED_BANDS, BAND_MASKS = 2, 8, 2
"""Longest stretch of time and widest of frequency that is blanked: no single sound or band may decide alone."""


def augment(
    windows: Float[Tensor, "n steps width"], spectrum: int, generator: torch.Generator
) -> Float[Tensor, "n steps width"]:
    """Each window heard from another mouth through another microphone, with gaps.

    The first `spectrum` numbers of a step are mel features (>= 0, see Mel); the others have gaps in time only. `generator` is
    one of the CPU, so that a seed means the same on every device.
    """
    heard, others = windows.split((spectrum, windows.shape[2] - spectrum), dim=2)
    if spectrum:
        heard = equalise(warp(heard, generator), generator)
        for _ in range(BAND_MASKS):
            heard = heard.masked_fill(random_mask(len(heard), spectrum, MASKED_BANDS, generator, heard)[:, None], 0.0)
    heard = torch.cat([heard, others], 2)
    return heard.masked_fill(random_mask(len(heard), heard.shape[1], MASKED_STEPS, generator, heard)[:, :, None], 0.0)


def warp(windows: Float[Tensor, "n steps bands"], generator: torch.Generator) -> Float[Tensor, "n steps bands"]:
    """Stretches and shifts the bands of each window, by linear interpolation."""
    n, _, bands = windows.shape
    stretch, shift = 2 * torch.rand((2, n, 1), generator=generator) - 1
    place = torch.arange(bands) * (1 + STRETCH * stretch) + SHIFT * shift
    place = place.clamp(0, bands - 1).to(windows.device)
    lower = place.long().clamp(max=bands - 2)
    weight = (place - lower)[:, None]
    lower = lower[:, None].expand_as(windows)
    return windows.gather(2, lower) * (1 - weight) + windows.gather(2, lower + 1) * weight


def equalise(windows: Float[Tensor, "n steps bands"], generator: torch.Generator) -> Float[Tensor, "n steps bands"]:
    """Another loudness and a smooth frequency response for each window; silence stays silence."""
    n, _, bands = windows.shape
    phase = math.pi * torch.linspace(0, 1, bands) * torch.arange(WAVES + 1)[:, None]
    response = EQUALISER * torch.randn((n, WAVES + 1), generator=generator) @ torch.cos(phase)
    return torch.log1p(torch.expm1(windows) * response.exp()[:, None].to(windows.device))


def random_mask(
    n: int, length: int, longest: int, generator: torch.Generator, like: Tensor
) -> Bool[Tensor, "n length"]:
    """One stretch of 0 to `longest` places a row, true there, on the device of `like`."""
    start = torch.randint(length, (n, 1), generator=generator)
    end = start + torch.randint(longest + 1, (n, 1), generator=generator)
    place = torch.arange(length)
    return ((place >= start) & (place < end)).to(like.device)
