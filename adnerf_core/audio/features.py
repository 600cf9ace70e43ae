"""Audio features: the table of extractors, and the protocol that they share."""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np
from jaxtyping import Float

AUDIO_FEATURES = {"mel": "adnerf_core.audio.mel:Mel"}
"""Extractors by name (config.FeatureName), loaded when first asked for."""


class AudioFeatures(Protocol):
    """Turns a waveform into one row of numbers a step.

    Step s describes the 1 / `rate` s of sound from s / `rate` s on; silence is a row of zeros, or close to it,
    so that zeros may stand for what lies before the start and after the end.
    """

    rate: int
    """Steps a second."""
    width: int
    """Numbers a step."""

    def __call__(self, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Features of mono float samples in -1..1 at config.SAMPLE_RATE; a part of a step at the end counts as one."""
        ...


def load_features(name: str) -> AudioFeatures:
    """The extractor called `name` in AUDIO_FEATURES. Raises KeyError for any other name."""
    module, _, attribute = AUDIO_FEATURES[name].partition(":")
    return getattr(import_module(module), attribute)()
