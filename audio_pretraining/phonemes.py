"""Linear discriminants of phonemes in a recogniser's hidden states (adnerf_core/audio/phones.safetensors)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from safetensors.numpy import save
from scipy.linalg import eigh

from demo.speech import Phoneme

MIN_STEPS = 200
"""Phonemes with fewer steps than this (4 s) are left out: their mean would be inaccurate."""
SHRINKAGE = 0.1
"""Share of the states' own variance that is added to the variance within phonemes: real speech varies in more directions than
synthetic speech, and a direction that hardly varies in the latter must not look reliable."""


class Discriminants(NamedTuple):
    """An affine map of hidden states; its fields are the keys of the file.

    Attributes:
        silence: mean state of pauses.
        directions: columns, along each of which the standard deviation within phonemes is 1.
    """

    silence: Float[np.ndarray, " width"]
    directions: Float[np.ndarray, "width count"]

    def __call__(self, states: Float[np.ndarray, "steps width"]) -> Float[np.ndarray, "steps count"]:
        """Maps hidden states to the features that PhonemeFeatures has before voice_activity is applied."""
        return (states - self.silence) @ self.directions

    def serialize(self) -> bytes:
        """Returns the content of the file."""
        return save({name: np.ascontiguousarray(value) for name, value in self._asdict().items()})


def labels(phonemes: list[Phoneme], times: Float[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """Returns the phoneme spoken at each of `times` (s): the first letter of its IPA name, "" in pauses."""
    letters = np.array(["", *(phoneme.name[:1] for phoneme in phonemes)])
    return letters[np.searchsorted([phoneme.start for phoneme in phonemes], times, side="right")]


def discriminants(
    states: Float[np.ndarray, "steps width"], phonemes: Shaped[np.ndarray, " steps"], count: int
) -> Discriminants:
    """Finds the directions in which phonemes differ most, relative to the variation within phonemes.

    This is linear discriminant analysis (Fisher, 1936): with the covariances B of the means of the phonemes and W of the states
    around them, it takes the eigenvectors of B v = lambda W v with the largest eigenvalues, scaled to v'Wv = 1. States are scaled to
    standard deviation 1 before, and SHRINKAGE I is added to W. Pauses count as a phoneme.

    Args:
        states: hidden states of a recogniser.
        phonemes: label of each step.
        count: number of directions.

    Raises:
        ValueError: fewer than `count` + 1 phonemes have MIN_STEPS steps.
    """
    names, numbers = np.unique(phonemes, return_counts=True)
    common = names[numbers >= MIN_STEPS]
    if len(common) <= count or "" not in common:
        raise ValueError(
            f"{len(common)} phonemes are spoken often enough, too few for {count} directions; make more speech."
        )
    usable = np.isin(phonemes, common)
    scale = states.std(0)
    states, phonemes = states[usable] / scale, phonemes[usable]
    means = {name: states[phonemes == name].mean(0) for name in common}
    centres = np.stack([means[name] for name in phonemes])
    within = np.cov(states - centres, rowvar=False) + SHRINKAGE * np.eye(len(scale))
    _, vectors = eigh(np.cov(centres, rowvar=False), within)
    return Discriminants(
        silence=(means[""] * scale).astype(np.float32),
        directions=(vectors[:, : -count - 1 : -1] / scale[:, None]).astype(np.float32),
    )
