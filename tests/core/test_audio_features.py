"""Mel features and windows: levels, time, silence."""

import sys
import weakref

import numpy as np
import pytest
import torch

from adnerf_core.audio import blocks as audio_blocks
from adnerf_core.audio.blocks import BLOCK, HOP, MARGIN, RATE, Block, blocks
from adnerf_core.audio.features import feature_kind, load_features
from adnerf_core.audio.mel import BANDS, KNEE, Mel, mel_filters
from adnerf_core.audio.phones import SOUNDS, TRACTS, Phones
from adnerf_core.audio.windows import LENGTH, windows
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import MissingBackend


def speechlike(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in bursts of a fifth of a second."""
    generator = np.random.default_rng(seed)
    samples = generator.normal(0, 0.1, int(seconds * SAMPLE_RATE))
    return (samples * (np.arange(len(samples)) // 3200 % 2)).astype(np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> dict[str, str]:
    """Tiny networks with random weights, by their kind, saved as transformers saves them."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    shape = {
        "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8,
        "conv_dim": (8,) * 7, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    }  # fmt: skip
    folders = {}
    for kind, config, model in (
        ("wav2vec2", transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
        ("hubert", transformers.HubertConfig, transformers.HubertModel),
    ):
        folders[kind] = str(tmp_path_factory.mktemp(kind))
        model(config(**shape)).save_pretrained(folders[kind])
    return folders


@pytest.fixture(params=["mel", "mel+phones", "wav2vec2", "hubert"])
def name(request) -> str:
    """The full name of every extractor that can be had."""
    if request.param in ("mel", "mel+phones"):
        return request.param
    return f"{request.param}:{request.getfixturevalue('weights')[request.param]}"


def test_every_extractor_keeps_its_promises(name):
    extractor = load_features(name)
    samples = speechlike(1.01)
    features = extractor(samples)
    steps = int(np.ceil(1.01 * extractor.rate))
    assert features.shape == (steps, extractor.width) and features.dtype == np.float32
    assert np.abs(extractor(np.zeros_like(samples))).mean() < (0.2 if ":" in name else 1e-6) < features.std()
    assert feature_kind(name).spectrum in (0, BANDS)


def test_sound_in_pieces_gives_what_it_gives_at_once(name, monkeypatch):
    """Blocks do not depend on how the sound arrives, and their seams do not show but for what is heard beyond the margins."""
    monkeypatch.setattr(audio_blocks, "BLOCK", 2 * SAMPLE_RATE)
    monkeypatch.setattr(audio_blocks, "MARGIN", SAMPLE_RATE // 2)
    samples = speechlike(5.03)
    extractor = load_features(name)
    pieces = np.split(samples, [1, 4000, 4001, 50_000, 79_000])
    streamed = np.concatenate(list(extractor.stream(blocks(pieces))))
    assert np.array_equal(streamed, extractor(samples))
    whole = next(iter(extractor.stream([Block(samples, 0, len(samples))])))
    assert whole.shape == streamed.shape
    assert np.corrcoef(whole[98:102].ravel(), streamed[98:102].ravel())[0, 1] > 0.9


def test_blocks_cover_the_sound_once_with_margins():
    samples = np.arange(3 * BLOCK + 7, dtype=np.float32)
    found = list(blocks([samples[:5], samples[5:]]))
    own = [block.samples[block.before : block.before + block.count] for block in found]
    assert np.array_equal(np.concatenate(own), samples)
    assert [block.before for block in found] == [0, MARGIN, MARGIN, MARGIN]
    assert [len(block.samples) - block.before - block.count for block in found] == [MARGIN, MARGIN, 7, 0]
    assert list(blocks([])) == []


def test_blocks_that_are_done_with_are_let_go(monkeypatch):
    monkeypatch.setattr(audio_blocks, "BLOCK", SAMPLE_RATE)
    monkeypatch.setattr(audio_blocks, "MARGIN", SAMPLE_RATE // 4)
    alive = []

    def watched():
        for block in blocks([speechlike(8)]):
            samples = block.samples.copy()
            alive.append(weakref.ref(samples))
            yield block._replace(samples=samples)
            del samples, block

    for done, _ in enumerate(load_features("mel+phones").stream(watched()), 1):
        assert sum(one() is not None for one in alive) <= 2, f"after {done} blocks"
    assert done == 8


def spoken() -> tuple[np.ndarray, list]:
    """A sentence of a synthetic voice, and its phonemes."""
    speak = pytest.importorskip("demo.speech").speak
    speech = speak("The shy fish and the sheep see some shoes.", voice="en-us+f3")
    samples = np.interp(
        np.arange(0, speech.seconds, 1 / SAMPLE_RATE), np.arange(len(speech.samples)) / speech.rate, speech.samples
    )
    return samples.astype(np.float32), speech.phonemes


def test_another_vocal_tract_is_heard_at_the_same_time():
    samples, _ = spoken()
    phones = Phones()
    usual = phones.heard(samples, 100)
    for tract in TRACTS:
        heard = phones.heard(samples, tract)
        assert heard.shape == usual.shape
        likeness = [float((np.roll(heard, shift, axis=0) * usual).sum()) for shift in range(-4, 5)]
        assert abs(int(np.argmax(likeness)) - 4) <= 1  # to a step
        assert max(likeness) > 0.4 * float((usual**2).sum())


def test_phones_are_heard_where_they_are_said():
    """A synthetic voice says a sentence: the sounds that it makes are heard at their time."""
    samples, phonemes = spoken()
    heard = Phones()(samples)
    assert heard.min() >= 0 and heard.sum(1).max() <= 1 + 1e-5
    for letter, sounds in (("uː", ("UW",)), ("s", ("S", "Z")), ("iː", ("IY",))):
        said = np.array([p.start for p in phonemes if p.name == letter])
        assert len(said) >= 1
        steps = ((said + 0.05) * RATE).astype(int)
        share = heard[:, [SOUNDS.index(sound) for sound in sounds]].sum(1)
        assert share[steps].mean() > 0.4 > 3 * share.mean()


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    for name, package in (("mel+phones", "pocketsphinx"), ("hubert", "transformers")):
        with pytest.raises(MissingBackend, match=f"pip install.*{package}"):
            load_features(name)


def test_weights_that_are_not_there_or_of_another_kind_are_named(weights, tmp_path):
    for name in (f"hubert:{weights['wav2vec2']}", f"hubert:{tmp_path}"):
        with pytest.raises(MissingBackend, match="cannot be had as hubert"):
            load_features(name)


def test_new_speech_cannot_be_heard_through_deepspeech():
    with pytest.raises(MissingBackend, match="mel\\+phones"):
        load_features("deepspeech")(speechlike(1.0))


def test_the_filters_tile_the_spectrum():
    filters, centers = mel_filters()
    assert filters.shape[1] == BANDS and np.allclose(filters.sum(0), 1)
    assert (np.diff(centers) > 0).all()
    assert (np.diff(filters.argmax(0)) > 0).all()


@pytest.mark.parametrize("hz", [300.0, 1000.0, 4000.0])
def test_a_tone_of_amplitude_one_has_about_one_in_its_own_band(hz):
    mel = Mel()
    tone = np.sin(2 * np.pi * hz * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    bands = mel.amplitudes(Block(tone, 0, len(tone)))[10:-10].mean(0)
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
    tilt, flat = (mel.amplitudes(Block(sound, 0, len(sound))) for sound in (tilted, samples))
    raw = np.log(tilt[loud] / flat[loud])
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
