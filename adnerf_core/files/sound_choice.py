"""Which of a file's sound tracks holds the speech, and whether its channels cancel each other out.

Recorders write a silent or a music track first (OBS), and a balanced microphone on a stereo jack records its signal and the negative
of it: mixed to mono, nothing is left. Both are measured in the first minutes of the decoded sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import ffmpeg
import numpy as np
from ffmpeg.nodes import FilterableStream
from jaxtyping import Float
from scipy.ndimage import uniform_filter1d

from adnerf_core.files.ffmpeg_process import running, untrusted_input

LISTEN_S = 120.0
"""How much of a track is listened to, s: the wiring does not change, and somebody speaks within two minutes."""

LISTEN_RATE = 8000
"""Sampling rate for this, Hz: speech is told from music below 3.4 kHz, and decoding is most of the work."""

MAX_TRACKS = 8
"""Tracks that are compared: recorders write up to six."""

CANCELLED = 0.2
"""Power of the mean of two channels, over that of the louder one, below which they are taken for opposites: -7 dB. Channels that have
nothing in common leave half, and one silent channel leaves a quarter."""

PIECE, CANCELLED_SHARE = 2 * LISTEN_RATE, 0.1
"""Samples of the pieces in which this is measured, and the share of the sound's power in pieces that cancel from which one channel is taken
for all: recordings that were joined may be of opposite phase in a part."""

BASS_MIX = 0.5
"""How much of the bass channel (LFE) of surround sound is mixed in. Players leave it out; but recorders with several microphones write the
fourth one there."""

FRAME = LISTEN_RATE // 50
"""Samples of a frame of 20 ms, in which speech is stationary."""

SPEECH_BAND = slice(6, 69)
"""Bins of a frame's spectrum, 50 Hz apart: 300 to 3400 Hz, the telephone's band."""

FLOOR_DB = -65.0
"""Level below which sound counts as silence, dB of full scale: noise below it would fluctuate as strongly as speech does."""

SYLLABLE_FRAMES, PHRASE_FRAMES = 4, 25
"""Widths of the averages, frames, whose difference is the modulation of 2 to 8 a second that syllables make."""

BETTER = 1.3
"""How much more speech another track must hold than the one that players take, before it is preferred."""


def speech_modulation(samples: Float[np.ndarray, " samples"]) -> float:
    """Returns how strongly the level of a sound fluctuates at the rate of syllables, dB: 4 or more for speech, 3 or less for music.

    Args:
        samples: mono, -1..1, LISTEN_RATE samples a second.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    if len(frames) < PHRASE_FRAMES:
        return 0.0
    power = (np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)[:, SPEECH_BAND]) ** 2).mean(1) / FRAME
    level = np.maximum(10 * np.log10(power + 1e-12), FLOOR_DB)
    syllables = uniform_filter1d(level, SYLLABLE_FRAMES) - uniform_filter1d(level, PHRASE_FRAMES)
    return float(syllables.std())


def opposite_channel(samples: Float[np.ndarray, "samples channels"]) -> int | None:
    """Returns the channel to take if two channels cancel each other out, 0 or 1; else None."""
    if samples.shape[1] != 2 or not len(samples):
        return None
    padded = np.pad(samples, ((0, -len(samples) % PIECE), (0, 0)))
    pieces = padded.reshape(-1, PIECE, 2)
    power, left = (pieces**2).sum(1), (pieces.mean(2) ** 2).sum(1)
    cancelled = left < CANCELLED * power.max(1)
    if power[cancelled].sum() <= CANCELLED_SHARE * power.sum():
        return None
    return int(power.sum(0).argmax())


def choose_track(path: Path, tracks: Mapping[int, int], preferred: int) -> tuple[int, int | None]:
    """Chooses the track that holds speech, and the channel of it to take.

    Args:
        path: the file.
        tracks: the number of channels (1 or 2) of each track that can be read, by its number, from 1 on; not empty.
        preferred: the track that players take; another one must hold clearly more speech.

    Returns:
        The track; and the channel, or None if all channels are mixed.
    """
    if len(tracks) == 1 and tracks[preferred] == 1:
        return preferred, None
    heard: dict[int, int | None] = {}
    scores: dict[int, float] = {}
    for track in list(tracks)[:MAX_TRACKS]:
        samples = _listen(path, track, tracks[track])
        heard[track] = channel = opposite_channel(samples)
        mono = samples.mean(1) if channel is None else samples[:, channel]
        scores[track] = speech_modulation(mono) * (BETTER if track == preferred else 1.0)
    best = max(scores, key=scores.__getitem__)
    return best, heard[best]


def decoded(source: FilterableStream, rate: int, channels: int) -> FilterableStream:
    """Converts an audio stream to one rate and one or two channels, 16 bit, whatever it changes to on the way.

    A change makes ffmpeg begin all its filters anew, so this graph keeps nothing from before: times are as in the file. More channels
    are mixed without clipping. The samples become integers because a sound file may hold NaN.
    """
    layout = ("mono", "stereo")[channels - 1]
    return source.filter("aresample", rematrix_maxval=1, lfe_mix_level=BASS_MIX).filter(
        "aformat", sample_rates=rate, channel_layouts=layout, sample_fmts="s16"
    )


def _listen(path: Path, track: int, channels: int) -> Float[np.ndarray, "samples channels"]:
    """Returns the first LISTEN_S of a track at LISTEN_RATE, -1..1."""
    sound = decoded(untrusted_input(path)[f"a:{track - 1}"], LISTEN_RATE, channels)
    with running(ffmpeg.output(sound, "pipe:1", format="s16le", t=LISTEN_S)) as child:
        data = child.stdout.read(round(LISTEN_S * LISTEN_RATE) * channels * 2)
    samples = np.frombuffer(data, np.int16, count=len(data) // (2 * channels) * channels)
    return samples.reshape(-1, channels) / 32768.0
