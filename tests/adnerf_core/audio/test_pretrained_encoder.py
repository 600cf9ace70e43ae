"""The pretrained encoder: its accuracy for an unseen voice, how a subject starts from it, and how it is made."""

import importlib
import sys

import numpy as np
import pytest
import torch

import audio_pretraining.__main__ as making
from adnerf_core.audio.encoder import AudioEncoder, select
from adnerf_core.audio.features import latest_name, load_features, streams
from adnerf_core.audio.pretrained_encoder import FILES, LAYERS, NUM_DISTANCES, init_from_pretrained, load_pretrained
from adnerf_core.audio.train_encoder import EncoderData, train_encoder
from adnerf_core.audio.windows import windows
from adnerf_core.config import FPS, SAMPLE_RATE
from audio_pretraining.phoneme_mouth_model import LEAD_S, synthesize_mouth
from audio_pretraining.phonemes import discriminants, labels
from audio_pretraining.speech import utterances
from audio_pretraining.texts import TEXTS
from demo.speech import Phoneme

FEATURES = latest_name("mel+phones")
LAYER = LAYERS[FEATURES][0]


@pytest.fixture(scope="module")
def all_layers():
    """Twenty seconds of synthetic speech that the encoders were not trained on: features, and the mouth that belongs to them."""
    random = np.random.default_rng(1234)
    extractor = load_features(FEATURES)
    features, lips = [], []
    for utterance in utterances(20, random):
        steps = extractor(utterance.samples)
        frames = len(steps) // 2
        features.append(steps[: 2 * frames])
        lips.append(synthesize_mouth(utterance.phonemes, np.arange(frames) / FPS))
    return torch.from_numpy(np.concatenate(features)), torch.from_numpy(np.concatenate(lips))


@pytest.fixture(scope="module")
def spoken(all_layers):
    """What the encoder of LAYER reads of it."""
    features, lips = all_layers
    return select(features, streams(FEATURES, features.shape[1])[0]), lips


def every(frames):
    return torch.arange(len(frames))


def test_the_pretrained_encoders_predict_the_mouth_of_an_unseen_voice(all_layers):
    features, lips = all_layers
    *parts, _ = streams(FEATURES, features.shape[1])
    for layer, part in zip(LAYERS[FEATURES], parts, strict=True):
        predicted = load_pretrained(layer)(windows(select(features, part), every(lips)))
        correlations = [np.corrcoef(predicted[:, axis], lips[:, axis])[0, 1] for axis in range(NUM_DISTANCES)]
        assert min(correlations) > 0.5
    assert set(FILES) == set(LAYERS[FEATURES])


def test_a_subject_starts_with_the_mouth_that_the_pretrained_encoder_predicts(spoken):
    """The code of a subject that is a mixture of the distances is predicted before any training."""
    features, lips = spoken
    mixture = torch.tensor([[1.0, 0.2, 0.0], [0.0, -0.5, 1.0]])
    codes = (lips - lips.mean(0)) / lips.std(0) @ mixture.T
    encoder = AudioEncoder(features.shape[1], 2)
    init_from_pretrained(encoder.requires_grad_(False), codes, lips, LAYER)
    predicted = encoder(windows(features, every(lips)))
    assert min(np.corrcoef(predicted[:, number], codes[:, number])[0, 1] for number in range(2)) > 0.3


def test_a_part_of_the_pretrained_weights_remains(spoken):
    features, lips = spoken
    codes = lips[:, :2] * 10
    weights = []
    for from_pretrained in (True, False):
        encoder = AudioEncoder(features.shape[1], 2)
        init_from_pretrained(encoder.requires_grad_(False), codes, lips, LAYER)
        start = encoder.last.weight.clone()
        data = EncoderData(features, 80, codes, every(codes))
        train_encoder(encoder, data, steps=4, seed=0, from_pretrained=from_pretrained)
        weights.append(float((encoder.last.weight - start).norm()))
    assert 0 < weights[0] < weights[1]


def test_the_lips_close_on_m_and_run_ahead_of_the_audio():
    phonemes = [Phoneme("ɑ", 0.0), Phoneme("m", 0.3), Phoneme("ɑ", 0.4), Phoneme("u", 0.7), Phoneme("", 1.0)]
    times = np.arange(0, 1.2, 0.01)
    opening, _, width = synthesize_mouth(phonemes, times).T
    closed = times[opening[20:60].argmin() + 20]
    assert opening.min() < 0.25 and closed == pytest.approx(0.35 - LEAD_S[0], abs=0.03)
    assert width[80] < 0.25 < width[20]
    assert synthesize_mouth(phonemes[:1], times).shape == (len(times), NUM_DISTANCES)


def test_there_are_several_texts_in_seventeen_languages():
    assert len(TEXTS) == 17 and all(len(set(sentences)) == len(sentences) >= 2 for sentences in TEXTS.values())


def test_discriminants_separate_phonemes_and_ignore_other_variation():
    random = np.random.default_rng(0)
    phonemes = np.repeat(["", "a", "m", "rare"], [400, 300, 300, 20])
    states = random.normal(0, [1.0, 5.0, 0.1, 2.0], (len(phonemes), 4))
    states[phonemes == "a", 2] += 1.0  # small beside the rest, but the only difference
    states[phonemes == "m", 0] += 6.0
    found = discriminants(states, phonemes, 2)
    features = found(states)
    assert np.abs(features[phonemes == ""].mean(0)).max() < 0.1
    assert all(np.linalg.norm(features[phonemes == letter].mean(0)) > 2 for letter in "am")
    assert np.abs(found.directions[1] * 5).max() < 0.2
    with pytest.raises(ValueError, match="make more speech"):
        discriminants(states, phonemes, 3)


def test_a_phoneme_is_the_label_from_its_start_on():
    phonemes = [Phoneme("aɪ", 0.3), Phoneme("m", 0.5), Phoneme("", 0.6)]
    assert labels(phonemes, np.array([0.1, 0.31, 0.49, 0.55, 0.7])).tolist() == ["", "a", "a", "m", ""]


def test_discriminants_and_encoder_can_be_made_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["audio_pretraining", "--minutes", "1.5", "--steps", "3", "--out", str(tmp_path)])
    monkeypatch.setattr("audio_pretraining.phonemes.MIN_STEPS", 10)
    making.main()
    made = {f"{kind}_{layer}.safetensors" for kind in ("phones", "prior") for layer in (2, 3)}
    assert made == {path.name for path in tmp_path.iterdir()}
    for module in ("phonemes", "pretrained_encoder"):
        files = importlib.import_module(f"adnerf_core.audio.{module}").FILES
        monkeypatch.setattr(f"adnerf_core.audio.{module}.FILES", {n: tmp_path / files[n].name for n in (2, 3)})
    features = load_features("mel+phones:2,3")(np.zeros(SAMPLE_RATE, np.float32))
    for layer, part in zip((2, 3), streams("mel+phones:2,3", features.shape[1]), strict=False):
        codes = load_pretrained(layer)(windows(select(torch.from_numpy(features), part), torch.arange(25)))
        assert torch.isfinite(codes).all()
    assert all(path.stat().st_size < 1_000_000 for path in tmp_path.iterdir())
    assert str(tmp_path) in capsys.readouterr().out
