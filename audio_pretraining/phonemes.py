"""The directions of a recogniser's hidden states in which phones lie far apart (adnerf_core/audio/phones.safetensors)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from safetensors.numpy import save
from scipy.linalg import eigh

from demo.speech import Phoneme

RARE = 200
"""Kinds of phones with fewer steps than this are left out: their spread cannot be told."""
SHRINKAGE = 0.1
"""Part of the states' own variance that is added to the spread within phones: real speech spreads in more directions."""


class Discriminants(NamedTuple):
    """The mean state of pauses, and directions along each of which the spread within phones is 1."""

    silence: Float[np.ndarray, " width"]
    directions: Float[np.ndarray, "width count"]

    def __call__(self, states: Float[np.ndarray, "steps width"]) -> Float[np.ndarray, "steps count"]:
        """What Phones hears where a recogniser has these `states`."""
        return (states - self.silence) @ self.directions

    def pack(self) -> bytes:
        """What the file holds of them."""
        return save({name: np.ascontiguousarray(value) for name, value in self._asdict().items()})


def labels(phonemes: list[Phoneme], times: Float[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """What is said at each of `times`, s: the first letter of the phoneme's IPA name, "" in pauses."""
    letters = np.array(["", *(phoneme.name[:1] for phoneme in phonemes)])
    return letters[np.searchsorted([phoneme.start for phoneme in phonemes], times, side="right")]


def discriminants(
    states: Float[np.ndarray, "steps width"], said: Shaped[np.ndarray, " steps"], count: int
) -> Discriminants:
    """Linear discriminant analysis (Fisher, 1936): the `count` directions with most between phones, beside the spread within.

    Pauses count as a kind of phone. Raises ValueError where fewer than `count` + 1 kinds are said often enough.
    """
    kinds, numbers = np.unique(said, return_counts=True)
    common = kinds[numbers >= RARE]
    if len(common) <= count or "" not in common:
        raise ValueError(
            f"{len(common)} kinds of phones are said often enough, for {count} directions; make more speech."
        )
    known = np.isin(said, common)
    unit = states.std(0)
    states, said = states[known] / unit, said[known]
    means = {kind: states[said == kind].mean(0) for kind in common}
    centres = np.stack([means[kind] for kind in said])
    within = np.cov(states - centres, rowvar=False) + SHRINKAGE * np.eye(len(unit))
    _, vectors = eigh(np.cov(centres, rowvar=False), within)
    return Discriminants(
        silence=(means[""] * unit).astype(np.float32),
        directions=(vectors[:, : -count - 1 : -1] / unit[:, None]).astype(np.float32),
    )
