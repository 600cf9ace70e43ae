"""Which parts of a sound are speech, by their loudness."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

SPEECH_RANGE_DB = 30.0
"""How far below the loud parts speech still counts, dB. The range of speech from vowels to weak consonants is about 30 dB; the
pauses of a clean recording lie lower."""

LOUD_QUANTILE = 0.95
"""Quantile of the level that stands for the loud parts; a click or a laugh does not move it."""


def speech_frames(samples: Float[np.ndarray, "frames hop"]) -> Bool[np.ndarray, " frames"]:
    """Returns which frames of a sound are within SPEECH_RANGE_DB of its loud parts, given the samples (-1..1) of each."""
    level = 20 * np.log10(np.sqrt(np.mean(samples**2, axis=1)) + 1e-6)  # -120 dB for silence, and no log of zero
    return level > np.quantile(level, LOUD_QUANTILE) - SPEECH_RANGE_DB
