"""Mel: a spectrogram with each band's usual level divided out, so that loudness, microphone and voice matter less."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from adnerf_core.config import SAMPLE_RATE

RATE = 50
BANDS = 80
HOP = SAMPLE_RATE // RATE
WINDOW = 512
TRANSFORM = 1024
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
KNEE = 0.003
"""Part of a band's usual level at which the scale turns from linear (silence is 0) to logarithmic."""
FAINTEST = 1e-4
"""Amplitude (of 1) that is never raised to the level of speech: the hiss of a silent room stays close to zero."""
TYPICAL_HZ, TYPICAL_S = 500.0, 5.0
"""Speech falls off above this frequency; a clip's own spectrum counts as much as this typical one when it has this length."""


def mel_filters() -> tuple[Float[np.ndarray, "bins bands"], Float[np.ndarray, " bands"]]:
    """Triangular filters, evenly spaced on the mel scale, each summing to 1, over TRANSFORM / 2 + 1 frequencies; their centres, Hz."""
    hz = np.linspace(0.0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1)[:, None]
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    filters = np.clip(np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)), 0, None)
    return filters / filters.sum(0), middle


class Mel:
    """BANDS log-mel bands, RATE steps a second, >= 0: 0 for silence, log(1 / KNEE) = 5.8 where a band is as strong as usual."""

    rate = RATE
    width = BANDS

    def __init__(self):
        self.filters, centers = mel_filters()
        self.typical = 1 / np.sqrt(1 + (centers / TYPICAL_HZ) ** 2)

    def __call__(self, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Features of mono samples in -1..1 at SAMPLE_RATE: ceil(samples / HOP) steps. See AudioFeatures."""
        bands = self.amplitudes(waveform)
        return np.log1p(bands / (KNEE * self.usual_level(bands))).astype(np.float32)

    def amplitudes(self, waveform: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "steps width"]:
        """Root mean square amplitude of each band; a sine of amplitude 1 has about 1 in its own."""
        steps = -(-len(waveform) // HOP)
        margin = (WINDOW - HOP) // 2
        padded = np.pad(waveform.astype(np.float32), (margin, steps * HOP - len(waveform) + margin))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        shape = np.hanning(WINDOW).astype(np.float32)
        bands = np.empty((steps, BANDS))
        for start in range(0, steps, 4096):  # in parts: the spectra of an hour at once would fill the memory
            spectrum = np.abs(np.fft.rfft(frames[start : start + 4096] * shape, TRANSFORM)) * (4 / WINDOW)
            bands[start : start + 4096] = np.sqrt(spectrum**2 @ self.filters)
        return bands

    def usual_level(self, bands: Float[np.ndarray, "steps width"]) -> Float[np.ndarray, " width"]:
        """The amplitude each band has while somebody speaks.

        The mean over the clip, weighted by the amplitude itself, so that pauses do not count; drawn towards the spectrum
        of typical speech at the clip's loudness, since a short clip has not had every sound yet.
        """
        own = (bands**2).sum(0) / np.maximum(bands.sum(0), FAINTEST)
        typical = self.typical * (own.mean() / self.typical.mean())
        seconds = len(bands) / RATE
        return np.maximum((own * seconds + typical * TYPICAL_S) / (seconds + TYPICAL_S), FAINTEST)
