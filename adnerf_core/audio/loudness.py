"""Which parts of a recording are speech, by their loudness alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

SPEECH_RANGE_DB = 30.0
"""Steps at most this far below the loud parts count as speech. This is the usual figure for the dynamic range of speech (the speech
intelligibility index, ANSI S3.5, assumes it too): with more, breath and room noise count as speech, with less, soft consonants
count as pauses."""
LOUD_QUANTILE = 0.95
"""Quantile of the levels that stands for the loud parts; with the maximum instead, a single click would decide."""
MIN_AMPLITUDE = 1e-6
"""Added to amplitudes before the logarithm, so that digital silence has -120 dB."""


def is_speech(samples: Float[np.ndarray, " samples"], hop: int) -> Bool[np.ndarray, " steps"]:
    """Tells the steps of `hop` samples that are speech, if the recording is clean, from those that are pauses.

    A step is speech if its root mean square level is within SPEECH_RANGE_DB of the loud parts. A part of a step at the end is
    left out.
    """
    steps = samples[: len(samples) // hop * hop].reshape(-1, hop)
    level_db = 20 * np.log10(np.sqrt(np.mean(steps**2, axis=1)) + MIN_AMPLITUDE)
    return level_db > np.quantile(level_db, LOUD_QUANTILE) - SPEECH_RANGE_DB
