"""From sound to lip codes: the ensemble, its augmentation, its training and its gain."""

import math

import numpy as np
import pytest
import torch

from adnerf_core.audio.augment import MAX_MASKED_STEPS, augment, equalize, random_mask, warp
from adnerf_core.audio.encoder import HALF_WEIGHT_S, MEMBERS, AudioEncoder, MultiStreamEncoder, select
from adnerf_core.audio.features import Stream, streams
from adnerf_core.audio.train_encoder import (
    FOLDS,
    MAX_ERROR_RATIO,
    MAX_GAIN,
    CrossValidation,
    EncoderData,
    calibrate,
    cross_validate,
    train_encoder,
)
from adnerf_core.audio.windows import windows
from adnerf_core.progress import Cancelled

BANDS, FRAMES, TRAINED = 16, 300, range(250)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def speech():
    """Features of which one group of bands determines the first number of the code, and nothing the second."""
    g = generator(1)
    steps = torch.nn.functional.avg_pool1d(torch.randn(1, 1, 2 * FRAMES + 8, generator=g), 9, 1)[0, 0] * 3
    features = torch.rand(2 * FRAMES, BANDS, generator=g) + 2
    features[:, 4:8] += steps[:, None] - steps.min()
    codes = torch.stack([steps[::2] / steps.std(), torch.randn(FRAMES, generator=g)], 1)
    return features, codes, torch.ones(FRAMES, dtype=torch.bool)


def fitted(speech, *, seed=0, steps=8, valid=None, codes=None):
    features, lip_targets, all_valid = speech
    frames = torch.nonzero((all_valid if valid is None else valid)[: len(TRAINED)])[:, 0]
    torch.manual_seed(seed)
    encoder = AudioEncoder(BANDS, 2)
    data = EncoderData(features, BANDS, lip_targets if codes is None else codes, frames)
    return encoder, train_encoder(encoder, data, steps=steps, seed=seed)


@pytest.fixture(scope="module")
def trained(speech):
    return fitted(speech, steps=120)


def test_lips_that_follow_the_audio_are_predicted_for_unseen_audio(speech, trained):
    encoder, figures = trained
    features, codes, _ = speech
    predicted = encoder(windows(features, torch.arange(250, FRAMES)))
    assert np.corrcoef(predicted[:, 0], codes[250:, 0])[0, 1] > 0.75
    assert figures["correlation"] > 0.7 and figures["gain"] == pytest.approx(float(encoder.gain[0]))


def test_codes_that_do_not_follow_the_audio_get_a_small_amplitude(speech, trained):
    encoder, _ = trained
    features, codes, _ = speech
    predicted = encoder(windows(features, torch.arange(250, FRAMES)))
    assert predicted[:, 1].std() < 0.5 * codes[:, 1].std()


def test_equal_seeds_give_equal_encoders_and_others_do_not(speech):
    (one, _), (same, _), (other, _) = (fitted(speech, seed=s) for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True))
    assert not torch.equal(one.last.weight, other.last.weight)


def test_nothing_is_learned_from_held_out_or_faceless_frames(speech):
    _, codes, valid = speech
    spoiled, some = codes.clone(), valid.clone()
    spoiled[250:] = 100.0
    spoiled[40:60] = torch.nan
    some[40:60] = False
    wild, _ = fitted(speech, codes=spoiled, valid=some)
    spoiled[250:], spoiled[40:60] = 0.0, -100.0
    calm, _ = fitted(speech, codes=spoiled, valid=some)
    assert torch.equal(wild.last.weight, calm.last.weight) and torch.equal(wild.gain, calm.gain)
    assert torch.isfinite(wild.last.weight).all()


def test_the_state_dict_holds_everything(speech):
    encoder, _ = fitted(speech)
    copy = AudioEncoder(BANDS, 2)
    copy.load_state_dict(encoder.state_dict())
    window = windows(speech[0], torch.arange(5))
    assert torch.equal(copy(window), encoder(window))
    assert not torch.equal(AudioEncoder(BANDS, 2)(window), encoder(window))


def test_the_prediction_is_the_mean_of_the_members_times_the_gain():
    encoder = AudioEncoder(BANDS, 2)
    encoder.gain.copy_(torch.tensor([1.5, 0.5]))
    window = torch.randn(3, 16, BANDS, generator=generator())
    assert torch.allclose(encoder(window), encoder.member_codes(window).mean(1) * torch.tensor([1.5, 0.5]))


def test_progress_is_reported_and_may_cancel(speech):
    features, codes, _ = speech
    reports = []

    def progress(stage, done, total):
        reports.append((stage, done, total))
        if done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        data = EncoderData(features, BANDS, codes, torch.tensor(TRAINED))
        train_encoder(AudioEncoder(BANDS, 2), data, steps=5, seed=0, progress=progress)
    assert reports == [("audio", step, 5) for step in range(4)]


def test_cross_validation_ignores_the_errors_of_single_networks():
    """Members that predict truth / 2 plus noise of their own: the ensemble's spread is 1/2 and its correlation 1."""
    n = 4000
    truth = torch.randn(n, 1, generator=generator())
    noise = torch.randn(n, MEMBERS, 1, generator=generator(1))
    steps = torch.zeros(2 * n, 1)

    class NoisyEncoder(AudioEncoder):
        def member_codes(self, windows):
            start = self.predicted
            self.predicted += len(windows)
            return truth[start : self.predicted, None] / 2 + noise[start : self.predicted]

    encoder = NoisyEncoder(1, 1)
    encoder.predicted = 0
    frames = torch.arange(n)
    train_mask = (frames * FOLDS // n)[:, None] != torch.arange(MEMBERS) % FOLDS
    validation = cross_validate(encoder, EncoderData(steps, 1, truth, frames), train_mask)
    assert validation.spread[0] == pytest.approx(0.5, abs=0.05)
    assert validation.correlation[0] == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("correlation", [0.3, 0.6, 0.8])
def test_the_gain_costs_a_tenth_more_error_than_the_least(correlation):
    spread = 0.8 * correlation
    gain = calibrate(CrossValidation(torch.tensor([correlation]), torch.tensor([spread]))).item()
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 1, 100_000)
    noise = generator.normal(0, 1, 100_000)
    predicted = spread * (correlation * truth + math.sqrt(1 - correlation**2) * noise)
    error = [float(np.mean((scale * predicted - truth) ** 2)) for scale in (gain, correlation / spread)]
    assert math.sqrt(error[0] / error[1]) <= MAX_ERROR_RATIO + 0.01
    assert (gain * predicted).std() > 1.2 * correlation or (gain * predicted).std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "correlation, spread, gain", [(1.0, 0.8, 1.25), (0.05, 0.5, 0.2), (0.8, 0.3, MAX_GAIN), (-0.2, 0.5, 0.0)]
)
def test_the_gain_has_its_limits(correlation, spread, gain):
    validation = CrossValidation(torch.tensor([correlation]), torch.tensor([spread]))
    assert calibrate(validation).item() == pytest.approx(gain, abs=1e-6)


def test_augmentation_keeps_silence_silent_and_stays_in_range():
    assert augment(torch.zeros(8, 16, 80), 80, generator()).abs().max() == 0
    augmented = augment(torch.rand(64, 16, 80, generator=generator()) * 7, 80, generator())
    assert torch.isfinite(augmented).all() and augmented.min() >= 0 and augmented.max() < 9


def test_every_window_is_augmented_differently_and_a_seed_repeats_it():
    same = torch.rand(1, 16, 80, generator=generator()).expand(4, -1, -1)
    augmented = augment(same, 80, generator(3))
    assert torch.equal(augmented, augment(same, 80, generator(3)))
    assert not torch.allclose(augmented[0], augmented[1])


def test_warp_moves_bands_and_equalize_does_not():
    peak = torch.zeros(200, 16, 80)
    peak[:, :, 50] = 5.0
    moved = warp(peak, generator()).argmax(2)[:, 0]
    assert moved.min() < 50 < moved.max() and (moved - 50).abs().max() <= 4
    louder = equalize(peak, generator())
    assert (louder.argmax(2) == 50).all() and louder[:, 0, 50].std() > 0.05


def test_masks_are_single_runs_of_limited_length():
    blank = random_mask(500, 16, MAX_MASKED_STEPS, generator(), torch.device("cpu"))
    lengths = blank.sum(1)
    assert lengths.max() == MAX_MASKED_STEPS and lengths.min() == 0
    assert (blank.int().diff(dim=1).clamp(min=0).sum(1) <= 1).all()


def test_each_layer_of_the_recogniser_has_an_encoder_and_the_spectrum_has_one_alone():
    for name, width in (("mel", 80), ("wav2vec2:folder", 768), ("deepspeech", 29)):
        assert [stream.width for stream in streams(name, width)] == [width]
    numbers = torch.arange(200.0)
    heard = [select(numbers, stream).tolist() for stream in streams("mel+phones:2,3,5", 200)]
    spectrum = list(range(80))
    assert heard == [[*spectrum, *range(start, start + 40)] for start in (80, 120, 160)] + [spectrum]
    assert [select(numbers[:120], stream).tolist() for stream in streams("mel+phones:3", 120)] == [
        list(range(120)),
        spectrum,
    ]


def test_the_last_encoder_reads_the_spectrum_alone_and_its_weight_grows_with_the_footage():
    torch.manual_seed(0)
    parts = Stream(6, slice(6, 8)), Stream(6, slice(8, BANDS)), Stream(6, slice(0))
    together = MultiStreamEncoder(parts, 2).requires_grad_(False)
    window = torch.randn(3, 16, BANDS, generator=generator())
    *phonemes, spectrum = (
        encoder(select(window, part)) for encoder, part in zip(together.encoders, parts, strict=True)
    )
    assert torch.allclose(together(window), sum(phonemes) / 2, atol=1e-6)
    together.set_spectrum_weight(HALF_WEIGHT_S)
    assert torch.allclose(together(window), sum(phonemes) / 4 + spectrum / 2, atol=1e-6)
    together.set_spectrum_weight(HALF_WEIGHT_S / 3)
    assert together.spectrum_weight == pytest.approx(0.25)


def test_a_single_encoder_has_all_the_weight():
    alone = MultiStreamEncoder((Stream(0, slice(BANDS)),), 2).requires_grad_(False)
    alone.set_spectrum_weight(1000.0)
    window = torch.randn(3, 16, BANDS, generator=generator())
    assert torch.equal(alone(window), alone.encoders[0](window))
