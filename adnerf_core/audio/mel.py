"""Mel: a spectrogram whose level is followed and divided out, so that loudness, microphone and voice matter less."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from adnerf_core.config import SAMPLE_RATE

RATE = 50
BANDS = 80
HOP = SAMPLE_RATE // RATE
WINDOW = 512
TRANSFORM = 1024
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
FORGETTING_S = 5.0
FAINTEST = 1e-4
"""Amplitude (of 1) that is never amplified to the level of speech: the hiss of a silent room stays close to zero."""
KNEE = 0.05
"""Part of a band's mean level at which the scale turns from linear to logarithmic."""


def mel_filters() -> Float[np.ndarray, "bins bands"]:
    """Triangular filters, evenly spaced on the mel scale, each summing to 1, over TRANSFORM / 2 + 1 frequencies."""
    hz = np.linspace(0.0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1)[:, None]
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    filters = np.clip(np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)), 0, None)
    return filters / filters.sum(0)


class Mel:
    """BANDS log-mel bands, RATE steps a second, >= 0 with 0 for silence, about 3 where a band is as strong as usual.

    A band's usual level is followed causally, with FORGETTING_S of memory, so that a stream gives what a file gives.
    """

    rate = RATE
    width = BANDS

    def __init__(self):
        self.filters = mel_filters()

    def __call__(self, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Features of mono samples in -1..1 at SAMPLE_RATE: ceil(samples / HOP) steps. See AudioFeatures."""
        steps = -(-len(waveform) // HOP)
        margin = (WINDOW - HOP) // 2
        padded = np.pad(waveform.astype(np.float32), (margin, steps * HOP - len(waveform) + margin))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:steps]
        spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), TRANSFORM)) * (4 / WINDOW)
        bands = np.sqrt(spectrum**2 @ self.filters)
        return np.log1p(bands / (KNEE * usual_level(bands))).astype(np.float32)


def usual_level(bands: Float[np.ndarray, "steps width"]) -> Float[np.ndarray, "steps width"]:
    """The level that each band has had lately: a mean over the past, weighted by exp(-age / FORGETTING_S)."""
    keep = np.exp(-1 / (RATE * FORGETTING_S))
    fading = (1 - keep) * np.ones(len(bands))
    level = lfilter([1 - keep], [1, -keep], bands, axis=0)
    weight = lfilter([1], [1, -keep], fading)[:, None]
    return np.maximum(level / weight, FAINTEST)
