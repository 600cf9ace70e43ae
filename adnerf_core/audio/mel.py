"""Mel: a log-mel spectrogram in which each band is relative to its own recent level.

That makes the features independent of loudness and microphone, and less dependent on the voice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from adnerf_core.audio.chunking import CHUNK_SAMPLES, HOP, RATE, AudioChunk
from adnerf_core.audio.features import AudioFeatures
from adnerf_core.config import SAMPLE_RATE

BANDS = 80
"""Number of mel bands, as many speech recognisers have it."""
WINDOW_SAMPLES = 512
"""Samples in an analysis window: 32 ms, three periods of a voice of 100 Hz."""
FFT_SIZE = 1024
"""Windows are padded to this length: frequency bins of 15.6 Hz lie closer than the lowest bands (22 Hz), so no band is empty."""
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
"""Range of the bands: from above the mains hum to below SAMPLE_RATE / 2, where resampling attenuates."""
LOG_KNEE = 0.003
"""Amplitude, relative to a band's usual level, at which the scale turns from linear (silence is 0) to logarithmic: -50 dB. Higher,
soft consonants are lost; lower, room noise counts like speech."""
MIN_AMPLITUDE = 1e-4
"""Smallest amplitude (of 1) taken for a usual level: the hiss of a silent room, which is weaker, stays close to 0."""
ROLLOFF_HZ = 500.0
"""Amplitudes of typical speech fall off above this frequency, by half per octave."""
LEVEL_MEMORY_S = 5.0
"""Time constant of the usual level: longer than a phrase, so that the level does not follow syllables. Compared with the level of a
whole clip, nothing was lost."""
LEVEL_DECAY = np.exp(-1 / (LEVEL_MEMORY_S * RATE))
"""Share of the sums behind the usual level that is kept from step to step."""


def mel_filters() -> tuple[Float[np.ndarray, "bins bands"], Float[np.ndarray, " bands"]]:
    """Builds triangular filters, evenly spaced on the mel scale, mel(f) = 2595 log10(1 + f / 700 Hz).

    Returns:
        The weights of the FFT_SIZE / 2 + 1 frequency bins in each band, with sum 1, and the centres of the bands, Hz.
    """
    hz = np.linspace(0.0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1)[:, None]
    lowest, highest = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(lowest, highest, BANDS + 2) / 2595) - 1)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    filters = np.clip(np.minimum((hz - left) / (middle - left), (right - hz) / (right - middle)), 0, None)
    return filters / filters.sum(0), middle


def _whole(samples: Float[np.ndarray, " samples"]) -> AudioChunk:
    """Returns the first chunk of an audio, of which a part came before."""
    return AudioChunk(samples, 0, min(CHUNK_SAMPLES, len(samples)))


class Mel(AudioFeatures):
    """BANDS log-mel bands, RATE steps per second.

    A band of amplitude a and usual level u gives log(1 + a / (LOG_KNEE u)): 0 in silence, 5.8 where a = u. The usual level is the
    exponential average of past amplitudes, weighted by the amplitudes themselves (sum of a^2 / sum of a), so pauses do not lower
    it. It is causal: audio of any length can come in chunks. It starts from a typical spectrum at the loudness of the first chunk.
    """

    width = spectrum_width = BANDS
    in_parts = True

    def __init__(self):
        self.filters, centers = mel_filters()
        self.typical = 1 / np.sqrt(1 + (centers / ROLLOFF_HZ) ** 2)

    def stream(self, chunks: Iterable[AudioChunk]) -> Iterator[Float[np.ndarray, "steps width"]]:
        """See AudioFeatures."""
        state = None
        for chunk in chunks:
            bands = self.amplitudes(chunk)
            if state is None:
                state = self.initial_state(bands if chunk.around is None else self.amplitudes(_whole(chunk.around)))
            sums, state = lfilter([1.0], [1.0, -LEVEL_DECAY], np.stack([bands**2, bands]), axis=1, zi=state)
            level = np.maximum(sums[0] / np.maximum(sums[1], MIN_AMPLITUDE), MIN_AMPLITUDE)
            yield np.log1p(bands / (LOG_KNEE * level)).astype(np.float32)

    def amplitudes(self, chunk: AudioChunk) -> Float[np.ndarray, "steps width"]:
        """Returns the root mean square amplitude of each band in each step; a sine of amplitude 1 gives about 1 in its own band."""
        overhang = (WINDOW_SAMPLES - HOP) // 2  # of a window over the step in its middle, on either side
        first = chunk.start - overhang
        last = first + (chunk.steps - 1) * HOP + WINDOW_SAMPLES
        samples = chunk.samples[max(0, first) : last]
        padded = np.pad(samples, (max(0, -first), last - max(0, first) - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::HOP]
        # A Hann window has mean 1/2, and half of a real sine's amplitude is at negative frequencies: hence the factor 4.
        hann = np.hanning(WINDOW_SAMPLES).astype(np.float32)
        spectrum = np.abs(np.fft.rfft(frames * hann, FFT_SIZE)) * (4 / WINDOW_SAMPLES)
        return np.sqrt(spectrum**2 @ self.filters)

    def initial_state(self, bands: Float[np.ndarray, "steps width"]) -> Float[np.ndarray, "2 1 width"]:
        """Returns the state of lfilter before the first chunk, of amplitudes `bands`.

        It is that after LEVEL_MEMORY_S of typical speech as loud as the chunk.
        """
        level = (bands**2).sum(0) / np.maximum(bands.sum(0), MIN_AMPLITUDE)
        usual = self.typical * (level.mean() / self.typical.mean())
        return LEVEL_MEMORY_S * RATE * np.stack([usual**2, usual])[:, None]
