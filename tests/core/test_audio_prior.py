"""The prior: what it knows of a voice it never heard, how a subject starts from it, and that it can be made again."""

import sys

import numpy as np
import pytest
import torch

import prior.__main__ as making
from adnerf_core.audio.encoder import AudioEncoder
from adnerf_core.audio.features import load_features
from adnerf_core.audio.fit import fit_encoder
from adnerf_core.audio.prior import DISTANCES, FEATURES, load_prior, start_from_prior
from adnerf_core.audio.windows import windows
from demo.speech import Phoneme
from prior.mouth import LEAD_S, mouth
from prior.texts import TEXTS

WIDTH = load_features(FEATURES).width


@pytest.fixture(scope="module")
def spoken():
    """Twenty seconds of synthetic speech that the prior was not made from: features, and the mouth that goes with them."""
    features, lips = making.corpus(20, seed=1234)
    return torch.from_numpy(features), torch.from_numpy(lips)


def every(frames):
    return torch.arange(len(frames))


def test_the_prior_knows_the_mouth_of_a_voice_it_never_heard(spoken):
    features, lips = spoken
    said = load_prior(WIDTH)(windows(features, every(lips)))
    agreement = [np.corrcoef(said[:, axis], lips[:, axis])[0, 1] for axis in range(DISTANCES)]
    assert min(agreement) > 0.35


def test_a_subject_starts_with_the_lips_that_the_prior_says(spoken):
    """A subject whose code is a mixture of the distances is understood before it has learnt anything."""
    features, lips = spoken
    mixture = torch.tensor([[1.0, 0.2, 0.0], [0.0, -0.5, 1.0]])
    codes = (lips - lips.mean(0)) / lips.std(0) @ mixture.T
    encoder = AudioEncoder(WIDTH, 2)
    start_from_prior(encoder.requires_grad_(False), codes, lips)
    said = encoder(windows(features, every(lips)))
    assert min(np.corrcoef(said[:, number], codes[:, number])[0, 1] for number in range(2)) > 0.3


def test_something_of_the_prior_remains(spoken):
    features, lips = spoken
    codes = lips[:, :2] * 10
    weights = []
    for from_prior in (True, False):
        encoder = AudioEncoder(WIDTH, 2)
        start_from_prior(encoder.requires_grad_(False), codes, lips)
        start = encoder.last.weight.clone()
        fit_encoder(
            encoder, features, codes, torch.ones(len(codes), dtype=torch.bool), spectrum=80, frames=range(len(codes)),
            steps=4, seed=0, from_prior=from_prior,
        )  # fmt: skip
        weights.append(float((encoder.last.weight - start).norm()))
    assert 0 < weights[0] < weights[1]


def test_the_lips_close_on_m_and_run_ahead_of_the_sound():
    phonemes = [Phoneme("ɑ", 0.0), Phoneme("m", 0.3), Phoneme("ɑ", 0.4), Phoneme("u", 0.7), Phoneme("", 1.0)]
    times = np.arange(0, 1.2, 0.01)
    opening, _, width = mouth(phonemes, times).T
    closed = times[opening[20:60].argmin() + 20]
    assert opening.min() < 0.25 and closed == pytest.approx(0.35 - LEAD_S[0], abs=0.03)
    assert width[80] < 0.25 < width[20]
    assert mouth(phonemes[:1], times).shape == (len(times), DISTANCES)


def test_the_texts_hold_enough_languages_and_all_closing_sounds():
    assert len(TEXTS) == 17 and all(len(set(sentences)) == len(sentences) >= 2 for sentences in TEXTS.values())


def test_the_prior_can_be_made_again(tmp_path, monkeypatch, capsys):
    out = tmp_path / "prior.safetensors"
    monkeypatch.setattr(sys, "argv", ["prior", "--minutes", "0.2", "--steps", "3", "--out", str(out)])
    making.main()
    monkeypatch.setattr("adnerf_core.audio.prior.FILE", out)
    made = load_prior(WIDTH)
    assert out.stat().st_size < 1_000_000 and torch.isfinite(made.last.weight).all()
    assert str(out) in capsys.readouterr().out
