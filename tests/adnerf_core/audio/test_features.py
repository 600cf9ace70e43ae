"""Mel features and windows: levels, time, silence."""

import sys
import weakref
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from adnerf_core.audio import chunking
from adnerf_core.audio.chunking import CHUNK_SAMPLES, CONTEXT_SAMPLES, HOP, RATE, AudioChunk, chunk_audio
from adnerf_core.audio.features import feature_class, latest_name, load_features
from adnerf_core.audio.mel import BANDS, LOG_KNEE, Mel, mel_filters
from adnerf_core.audio.moonshine import LAST_LAYER, WHEEL, MoonshineEncoder, open_session, weights_file
from adnerf_core.audio.ort_outputs import with_outputs
from adnerf_core.audio.phonemes import DIRECTIONS, FILES, PhonemeFeatures, voice_activity
from adnerf_core.audio.windows import LENGTH, windows
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import MissingBackend
from audio_pretraining.phonemes import labels


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
    """The full name of every extractor that can be loaded."""
    if request.param in ("mel", "mel+phones"):
        return request.param
    return f"{request.param}:{request.getfixturevalue('weights')[request.param]}"


def test_every_extractor_has_the_shape_and_silence_of_audio_features(name):
    extractor = load_features(name)
    samples = speechlike(1.01)
    features = extractor(samples)
    steps = int(np.ceil(1.01 * extractor.rate))
    assert features.shape == (steps, extractor.width) and features.dtype == np.float32
    assert np.abs(extractor(np.zeros_like(samples))).mean() < (0.2 if ":" in name else 1e-6) < features.std()
    assert feature_class(name).spectrum_width in (0, BANDS)


def test_audio_in_pieces_gives_the_features_of_the_whole(name, monkeypatch):
    """Chunks do not depend on the pieces, and features at a seam differ only by what lies beyond the context."""
    monkeypatch.setattr(chunking, "CHUNK_SAMPLES", 2 * SAMPLE_RATE)
    monkeypatch.setattr(chunking, "CONTEXT_SAMPLES", SAMPLE_RATE // 2)
    samples = speechlike(5.03)
    extractor = load_features(name)
    pieces = np.split(samples, [1, 4000, 4001, 50_000, 79_000])
    streamed = np.concatenate(list(extractor.stream(chunk_audio(pieces))))
    assert np.array_equal(streamed, extractor(samples))
    whole = next(iter(extractor.stream([AudioChunk(samples, 0, len(samples))])))
    assert whole.shape == streamed.shape
    assert np.corrcoef(whole[98:102].ravel(), streamed[98:102].ravel())[0, 1] > 0.9


def test_chunks_cover_the_audio_once_with_context():
    samples = np.arange(3 * CHUNK_SAMPLES + 7, dtype=np.float32)
    chunks = list(chunk_audio([samples[:5], samples[5:]]))
    covered = [chunk.samples[chunk.start : chunk.start + chunk.count] for chunk in chunks]
    assert np.array_equal(np.concatenate(covered), samples)
    assert [chunk.start for chunk in chunks] == [0, CONTEXT_SAMPLES, CONTEXT_SAMPLES, CONTEXT_SAMPLES]
    assert [len(chunk.samples) - chunk.start - chunk.count for chunk in chunks] == [
        CONTEXT_SAMPLES,
        CONTEXT_SAMPLES,
        7,
        0,
    ]
    assert list(chunk_audio([])) == []


def test_the_first_chunk_comes_in_parts_where_it_is_wanted_soon():
    """Loudness is judged by the whole chunk, so that only what the recogniser hears beyond the context makes a difference."""
    samples = speechlike(CHUNK_SAMPLES / SAMPLE_RATE + 3.01)
    samples[: 2 * SAMPLE_RATE] *= 0.05  # a soft beginning
    chunks = list(chunk_audio([samples], soon=True))
    covered = [chunk.samples[chunk.start : chunk.start + chunk.count] for chunk in chunks]
    assert np.array_equal(np.concatenate(covered), samples)
    assert [chunk.count / SAMPLE_RATE for chunk in chunks] == pytest.approx([3, 6, 11, 3.01], abs=1e-3)
    assert all(chunk.around is not None for chunk in chunks[:3]) and chunks[3].around is None
    for name in ("mel", "mel+phones"):
        extractor = load_features(name)
        assert extractor.in_parts
        whole, parts = extractor(samples), np.concatenate(list(extractor.stream(chunks)))
        spectrum = slice(extractor.spectrum_width)
        assert whole.shape == parts.shape and np.allclose(whole[:, spectrum], parts[:, spectrum], atol=1e-4)
        assert np.corrcoef(whole.ravel(), parts.ravel())[0, 1] > 0.98


def test_chunks_are_freed_once_they_are_encoded(monkeypatch):
    monkeypatch.setattr(chunking, "CHUNK_SAMPLES", SAMPLE_RATE)
    monkeypatch.setattr(chunking, "CONTEXT_SAMPLES", SAMPLE_RATE // 4)
    alive = []

    def watched():
        for chunk in chunk_audio([speechlike(8)]):
            samples = chunk.samples.copy()
            alive.append(weakref.ref(samples))
            yield chunk._replace(samples=samples)
            del samples, chunk

    for done, _ in enumerate(load_features("mel+phones").stream(watched()), 1):
        assert sum(one() is not None for one in alive) <= 2, f"after {done} chunks"
    assert done == 8


def spoken() -> tuple[np.ndarray, list]:
    """A sentence of a synthetic voice, and its phonemes."""
    speak = pytest.importorskip("demo.speech").speak
    speech = speak("The shy fish and the sheep see some shoes.", voice="en-us+f3")
    samples = np.interp(
        np.arange(0, speech.seconds, 1 / SAMPLE_RATE), np.arange(len(speech.samples)) / speech.rate, speech.samples
    )
    return samples.astype(np.float32), speech.phonemes


def test_phonemes_are_recognised_at_their_time():
    """Steps of one phoneme lie close together, whoever speaks: a nearest-mean classifier works for new voices."""
    speech = pytest.importorskip("audio_pretraining.speech")
    extractor, spoken = PhonemeFeatures(), list(speech.utterances(90, np.random.default_rng(5)))
    features = [extractor(utterance.samples) for utterance in spoken]

    def phonemes(later_s: float) -> list[np.ndarray]:
        times = [(np.arange(len(steps)) + 0.5) / RATE + later_s for steps in features]
        return [labels(utterance.phonemes, at) for utterance, at in zip(spoken, times, strict=True)]

    half = len(spoken) // 2
    known, letters = np.concatenate(features[:half]), np.concatenate(phonemes(0.0)[:half])
    kinds = [kind for kind in np.unique(letters) if (letters == kind).sum() > 20]
    centres = np.stack([known[letters == kind].mean(0) for kind in kinds])
    new = np.concatenate(features[half:])
    guessed = np.array(kinds)[((new[:, None] - centres) ** 2).sum(2).argmin(1)]
    truths = {later_s: np.concatenate(phonemes(later_s)[half:]) for later_s in (-0.1, 0.0, 0.1)}
    right = {later_s: float((guessed == truth)[truth != ""].mean()) for later_s, truth in truths.items()}
    assert right[0.0] > 0.45 > 1.5 * max(right[-0.1], right[0.1])


def test_silence_between_words_is_near_the_origin():
    samples, phonemes = spoken()
    with_hiss = samples + np.random.default_rng(0).normal(0, 1e-3, len(samples)).astype(np.float32)
    far = np.linalg.norm(PhonemeFeatures()(with_hiss), axis=1)
    before = int(phonemes[0].start * RATE)
    assert before > 5 and far[1 : before - 2].mean() < 0.5 * far[before:].mean()


def test_silence_has_no_weight_although_speech_follows():
    """The recogniser's states run ahead: in the silence before speech they are suppressed, whatever the level of the recording."""
    samples, phonemes = spoken()
    quiet = np.concatenate([np.zeros(8000, np.float32), samples])
    quiet += np.random.default_rng(0).normal(0, 3e-4, len(quiet)).astype(np.float32)
    starts = int((0.5 + phonemes[0].start) * RATE)
    for level in (1.0, 0.1):
        weight = voice_activity(level * quiet)
        assert weight[: starts - 3].max() < 0.2 and weight[starts + 2 : starts + 30].mean() > 0.8
    assert voice_activity(np.zeros(8000, np.float32)).max() == 0


def test_phoneme_features_do_not_depend_on_the_level():
    samples, _ = spoken()
    loud, quiet = PhonemeFeatures()(samples), PhonemeFeatures()(0.1 * samples)
    assert np.corrcoef(loud.ravel(), quiet.ravel())[0, 1] > 0.98


def test_the_states_of_layers_in_the_middle_are_read():
    """They depend less on what is said later than the last layer's states do."""
    samples, _ = spoken()
    start = samples[: len(samples) // 2 + 3 * SAMPLE_RATE // 10]
    steps = len(samples) // 2 // HOP - 5

    recogniser = MoonshineEncoder((LAST_LAYER, 2, 3))
    whole, cut = (recogniser(part)[:, :steps] for part in (samples, start))
    last, *middle = np.linalg.norm(whole - cut, axis=(1, 2)) / np.linalg.norm(
        whole - whole.mean(1)[:, None], axis=(1, 2)
    )
    assert max(middle) < 0.7 * last
    for number, layer in enumerate((LAST_LAYER, 2, 3)):
        assert np.allclose(MoonshineEncoder([layer])(start)[0][:steps], cut[number], atol=1e-4)
    network = weights_file("encoder_model.ort", "a test").read_bytes()
    assert len(with_outputs(network, ["x"])) < len(network) + 24
    with pytest.raises(Exception, match="no_such_value"):
        open_session("encoder_model.ort", "a test", ["no_such_value"])


def test_subjects_of_earlier_versions_keep_the_features_of_one_layer():
    samples, _ = spoken()
    features = load_features(latest_name("mel+phones"))(samples)
    assert latest_name("mel") == "mel"
    for number, (name, layer) in enumerate((("mel+phones:2", 2), ("mel+phones:3", 3), ("mel+phones", LAST_LAYER))):
        known = load(FILES[layer].read_bytes())
        states = MoonshineEncoder([layer])(samples)[0] - known["silence"]
        expected = states @ known["directions"] * voice_activity(samples)[:, None]
        earlier = load_features(name)
        assert earlier.width == BANDS + DIRECTIONS
        assert np.allclose(earlier(samples)[:, BANDS:], expected, atol=1e-4)
        block = features[:, BANDS + number * DIRECTIONS :][:, :DIRECTIONS]
        assert np.allclose(block, expected, atol=1e-3)


def test_missing_libraries_are_named(monkeypatch):
    for module in ("onnxruntime", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    for name, package in (("mel+phones", "onnxruntime"), ("hubert", "transformers")):
        with pytest.raises(MissingBackend, match=f"pip install.*{package}"):
            load_features(name)


def test_the_remedy_names_the_wheel_that_is_installed():
    assert WHEEL in (Path(__file__).parents[3] / "pyproject.toml").read_text()


@pytest.mark.parametrize("installed", [False, True])
def test_a_wheel_without_weights_is_named(installed, monkeypatch, tmp_path):
    """Later releases of the recogniser come without them."""
    found = ModuleSpec("moonshine_voice", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("adnerf_core.audio.moonshine.find_spec", lambda name: found if installed else None)
    with pytest.raises(MissingBackend, match=r"pip install moonshine-voice==0\.1\.0"):
        load_features("mel+phones")


def test_weights_that_are_missing_or_of_another_kind_are_named(weights, tmp_path):
    for name in (f"hubert:{weights['wav2vec2']}", f"hubert:{tmp_path}"):
        with pytest.raises(MissingBackend, match="The model of hubert cannot be loaded"):
            load_features(name)


def test_deepspeech_features_cannot_be_computed():
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
    bands = mel.amplitudes(AudioChunk(tone, 0, len(tone)))[10:-10].mean(0)
    own = int(np.abs(mel_filters()[1] - hz).argmin())
    assert abs(int(bands.argmax()) - own) <= 1
    assert 0.3 < bands.max() < 1.2
    far = np.abs(np.arange(BANDS) - own) > 12
    assert bands[far].max() < 0.02 * bands.max()


def test_loudness_and_microphone_hardly_matter():
    samples = speechlike(20)
    tilted = np.convolve(samples, [1.0, -0.7])[: len(samples)].astype(np.float32)
    mel = Mel()
    plain, other = mel(samples), mel(tilted)
    assert np.allclose(mel(0.2 * samples), plain, atol=0.02)
    loud = plain > 3
    tilt, flat = (mel.amplitudes(AudioChunk(sound, 0, len(sound))) for sound in (tilted, samples))
    raw = np.log(tilt[loud] / flat[loud])
    assert np.abs(other - plain)[loud].mean() < 0.5 * np.abs(raw).mean()


def test_pauses_do_not_make_speech_louder():
    samples = speechlike(10)
    with_pause = np.concatenate([samples, np.zeros(20 * SAMPLE_RATE, np.float32)])
    mel = Mel()
    assert np.abs(mel(with_pause)[: 10 * mel.rate - 2] - mel(samples)[:-2]).max() < 0.3 < np.log(30 / 10)


def test_hiss_is_not_amplified_to_the_level_of_speech():
    hiss = np.random.default_rng(0).normal(0, 1e-5, 5 * SAMPLE_RATE).astype(np.float32)
    assert Mel()(hiss).mean() < np.log1p(1 / LOG_KNEE) - 2 < Mel()(speechlike(5)).max()


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
