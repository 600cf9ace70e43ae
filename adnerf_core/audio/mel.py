"""Mel: a spectrogram with each band's usual level divided out, so that loudness, microphone and voice matter less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from adnerf_core.audio.chunking import HOP, RATE, AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.config import SAMPLE_RATE

BANDS = 80
WINDOW = 512
TRANSFORM = 1024
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
LOG_KNEE = 0.003
"""Part of a band's usual level at which the scale turns from linear (silence is 0) to logarithmic."""
FAINTEST = 1e-4
"""Amplitude (of 1) that is never raised to the level of speech: the hiss of a silent room stays close to zero."""
TYPICAL_HZ = 500.0
"""Speech falls off above this frequency."""
MEMORY_S = 5.0
KEEP = np.exp(-1 / (MEMORY_S * RATE))
"""What was heard is forgotten with this time constant, s, that is, so much of it is kept from step to step."""


def mel_filters() -> tuple[Float[np.ndarray, "bins bands"], Float[np.ndarray, " bands"]]:
    """Triangular filters, evenly spaced on the mel scale, each summing to 1, over TRANSFORM / 2 + 1 frequencies; their centres, Hz."""
    hz = np.linspace(0.0, SAMPLE_RATE / 2, TRANSFORM // 2 + 1)[:, None]
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    filters = np.clip(np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)), 0, None)
    return filters / filters.sum(0), middle


class Mel(AudioFeatures):
    """BANDS log-mel bands, RATE steps a second, >= 0: 0 for silence, log(1 / KNEE) = 5.8 where a band is as strong as usual.

    What is usual is what was heard lately (MEMORY_S), so that sound of any length can come in blocks. It starts from a
    typical spectrum at the loudness of the first block.
    """

    width = spectrum = BANDS

    def __init__(self):
        self.filters, centers = mel_filters()
        self.typical = 1 / np.sqrt(1 + (centers / TYPICAL_HZ) ** 2)

    def stream(self, blocks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures."""
        memory = None
        for block in blocks:
            bands = self.amplitudes(block)
            if memory is None:
                memory = self.start(bands)
            # The mean amplitude, weighted by the amplitude itself, so that pauses do not count.
            sums, memory = lfilter([1.0], [1.0, -KEEP], np.stack([bands**2, bands]), axis=1, zi=memory)
            level = np.maximum(sums[0] / np.maximum(sums[1], FAINTEST), FAINTEST)
            yield np.log1p(bands / (LOG_KNEE * level)).astype(np.float32)

    def amplitudes(self, block: AudioChunk) -> Float[np.ndarray, "steps width"]:
        """Root mean square amplitude of each band of a block; a sine of amplitude 1 has about 1 in its own."""
        reach = (WINDOW - HOP) // 2
        first = block.before - reach
        last = first + (block.steps - 1) * HOP + WINDOW
        samples = block.samples[max(0, first) : last]
        padded = np.pad(samples, (max(0, -first), last - max(0, first) - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        spectrum = np.abs(np.fft.rfft(frames * np.hanning(WINDOW).astype(np.float32), TRANSFORM)) * (4 / WINDOW)
        return np.sqrt(spectrum**2 @ self.filters)

    def start(self, bands: Float[np.ndarray, "steps width"]) -> Float[np.ndarray, "2 1 width"]:
        """What lfilter remembers of the time before a first block: MEMORY_S of typical speech, as loud as the block is."""
        own = (bands**2).sum(0) / np.maximum(bands.sum(0), FAINTEST)
        usual = self.typical * (own.mean() / self.typical.mean())
        return MEMORY_S * RATE * np.stack([usual**2, usual])[:, None]
