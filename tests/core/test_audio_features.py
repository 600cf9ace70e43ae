"""Mel features and windows: levels, time, silence."""

import numpy as np
import pytest
import torch

from adnerf_core.audio.features import AUDIO_FEATURES, load_features
from adnerf_core.audio.mel import BANDS, HOP, KNEE, Mel, mel_filters
from adnerf_core.audio.windows import LENGTH, windows
from adnerf_core.config import SAMPLE_RATE


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in bursts of a fifth of a second."""
    generator = np.random.default_rng(seed)
    samples = generator.normal(0, 0.1, int(seconds * SAMPLE_RATE))
    return (samples * (np.arange(len(samples)) // 3200 % 2)).astype(np.float32)


@pytest.mark.parametrize("name", AUDIO_FEATURES)
def test_every_extractor_keeps_its_promises(name):
    extractor = load_features(name)
    samples = speechlike(1.01)
    features = extractor(samples)
    steps = int(np.ceil(1.01 * extractor.rate))
    assert features.shape == (steps, extractor.width) and features.dtype == np.float32
    assert np.abs(extractor(np.zeros_like(samples))).max() < 1e-6


def test_the_filters_tile_the_spectrum():
    filters, centers = mel_filters()
    assert filters.shape[1] == BANDS and np.allclose(filters.sum(0), 1)
    assert (np.diff(centers) > 0).all()
    assert (np.diff(filters.argmax(0)) > 0).all()


@pytest.mark.parametrize("hz", [300.0, 1000.0, 4000.0])
def test_a_tone_of_amplitude_one_has_about_one_in_its_own_band(hz):
    mel = Mel()
    tone = np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    bands = mel.amplitudes(tone)[10:-10].mean(0)
    own = int(np.abs(mel_filters()[1] - hz).argmin())
    assert abs(int(bands.argmax()) - own) <= 1
    assert 0.3 < bands.max() < 1.2
    far = np.abs(np.arange(BANDS) - own) > 12
    assert bands[far].max() < 0.02 * bands.max()


def test_loudness_and_microphone_make_no_difference():
    samples = speechlike(20)
    tilted = np.convolve(samples, [1.0, -0.7])[: len(samples)].astype(np.float32)
    mel = Mel()
    plain, other = mel(samples), mel(tilted)
    assert np.allclose(mel(0.2 * samples), plain, atol=0.02)
    loud = plain > 3
    raw = np.log(mel.amplitudes(tilted)[loud] / mel.amplitudes(samples)[loud])
    assert np.abs(other - plain)[loud].mean() < 0.5 * np.abs(raw).mean()


def test_pauses_do_not_make_speech_louder():
    samples = speechlike(10)
    with_pause = np.concatenate([samples, np.zeros(20 * SAMPLE_RATE, np.float32)])
    mel = Mel()
    assert np.abs(mel(with_pause)[: 10 * mel.rate - 2] - mel(samples)[:-2]).max() < 0.3 < np.log(30 / 10)


def test_the_hiss_of_a_silent_room_is_not_raised_to_speech():
    hiss = np.random.default_rng(0).normal(0, 1e-5, 5 * SAMPLE_RATE).astype(np.float32)
    assert Mel()(hiss).mean() < np.log1p(1 / KNEE) - 2 < Mel()(speechlike(5)).max()


def test_step_s_covers_its_own_twenty_milliseconds():
    samples = np.zeros(SAMPLE_RATE, np.float32)
    samples[25 * HOP + HOP // 2] = 1.0
    assert Mel()(samples).sum(1).argmax() == 25


def test_long_sound_is_the_same_in_parts():
    """Spectra are made in parts of 4096 steps: the seam must not show."""
    samples = np.tile(speechlike(1.0), 84)
    bands = Mel().amplitudes(samples)
    assert len(bands) == 4200
    assert np.allclose(bands[4050:4150], bands[4000:4100])


def test_a_window_lies_around_its_frame():
    features = torch.arange(100.0)[:, None]
    window = windows(features, torch.tensor([20, 30]))
    assert window.shape == (2, LENGTH, 1)
    assert window[0, :, 0].tolist() == list(range(32, 48))
    assert window[1, 8, 0] == 60


def test_before_the_start_and_after_the_end_is_silence():
    features = torch.ones(40, 3)
    first, last, beyond = windows(features, torch.tensor([0, 19, 500]))
    assert first[:8].abs().sum() == 0 and (first[8:] == 1).all()
    assert (last[:10] == 1).all() and last[10:].abs().sum() == 0
    assert beyond.abs().sum() == 0
