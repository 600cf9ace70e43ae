"""Frequency encoding, also called positional encoding (NeRF, section 5.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def frequency_encode(values: Float[Tensor, "*n axes"], bands: int) -> Float[Tensor, "*n encoded"]:
    """Encodes values v as (v, sin v, cos v, sin 2v, cos 2v, ..., sin 2^(bands-1) v, cos 2^(bands-1) v).

    Each of these parts holds all axes. As in NeRF's code, the angles are not multiplied by pi and v itself is included.
    """
    scaled = [values * 2.0**band for band in range(bands)]
    return torch.cat([values, *(wave(angle) for angle in scaled for wave in (torch.sin, torch.cos))], -1)


def frequency_encoding_dim(axes: int, bands: int) -> int:
    """Returns the width of the encoding of `axes` numbers."""
    return axes * (1 + 2 * bands)
