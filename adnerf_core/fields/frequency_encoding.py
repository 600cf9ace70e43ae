"""Positional encoding (NeRF, section 5.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def frequency_encode(values: Float[Tensor, "*n axes"], bands: int) -> Float[Tensor, "*n encoded"]:
    """The values themselves, then sin and cos of them times 1, 2, 4, ... 2^(bands - 1), axis by axis in each."""
    scaled = [values * 2.0**band for band in range(bands)]
    return torch.cat([values, *(wave(angle) for angle in scaled for wave in (torch.sin, torch.cos))], -1)


def frequency_encoding_dim(axes: int, bands: int) -> int:
    """Numbers that `frequency_encode` makes of `axes` numbers."""
    return axes * (1 + 2 * bands)
