"""Codes of audio that arrives in pieces: equal to those of the whole audio, in memory that does not grow."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from adnerf_core.audio import chunking
from adnerf_core.audio.encoder import AudioEncoder
from adnerf_core.audio.features import load_features
from adnerf_core.audio.inference import encode_pieces, encode_stream
from adnerf_core.audio.mel import BANDS, Mel
from adnerf_core.audio.windows import windows
from adnerf_core.config import SAMPLE_RATE
from adnerf_core.files import ffmpeg
from adnerf_core.models.audionet import AudioAttNet, AudioNet

CPU = torch.device("cpu")


class Direct:
    """A model that encodes audio as the fast fields do."""

    def __init__(self, width: int):
        torch.manual_seed(0)
        self.encoder = AudioEncoder(width, 6)

    def encode_audio(self, features, frames):
        return self.encoder(windows(features, frames))


class Smoothed:
    """A model that encodes audio as the paper does: a weighted mean of neighbouring codes."""

    def __init__(self, width: int):
        torch.manual_seed(0)
        self.encoder, self.attention = AudioNet(width, 6), AudioAttNet(6)

    def encode_audio(self, features, frames):
        neighbours = frames[:, None] + torch.arange(-4, 4)
        return self.attention(self.encoder(windows(features, neighbours.flatten())).view(*neighbours.shape, -1))


def syllables(seconds: float) -> np.ndarray:
    """Noise that swells four times a second."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.random.default_rng(0).normal(0, 0.1, len(time))
    return (noise * (0.5 + 0.5 * np.sin(2 * np.pi * 4 * time))).astype(np.float32)


def test_the_first_codes_are_there_before_the_sound_has_ended(monkeypatch):
    monkeypatch.setattr(chunking, "CHUNK_SAMPLES", 2 * SAMPLE_RATE)
    extractor, heard = load_features("mel"), []

    def pieces():
        for second in range(20):
            heard.append(second)
            yield syllables(1.0)

    first = next(encode_pieces(Direct(extractor.width), extractor, pieces(), CPU))
    assert len(first) > 25 and len(heard) < 6


@pytest.mark.parametrize("kind", [Direct, Smoothed])
@pytest.mark.parametrize("name", ["mel", "mel+phones"])
@pytest.mark.parametrize("seconds", [0.3, 2.0, 7.033])
def test_codes_in_parts_are_those_of_the_whole(kind, name, seconds, monkeypatch):
    monkeypatch.setattr(chunking, "CHUNK_SAMPLES", 2 * SAMPLE_RATE)
    monkeypatch.setattr(chunking, "CONTEXT_SAMPLES", SAMPLE_RATE // 4)
    extractor, samples = load_features(name), syllables(seconds)
    model = kind(extractor.width)
    with torch.no_grad():
        features = torch.from_numpy(extractor(samples))
        whole = model.encode_audio(features, torch.arange(-(-len(features) // 2)))
    parts = encode_stream(model, extractor, np.array_split(samples, 7), CPU)
    assert parts.shape == whole.shape and whole.std() > 0
    assert torch.allclose(parts, whole, atol=1e-5)


def test_memory_does_not_grow_with_the_length(monkeypatch):
    monkeypatch.setattr(chunking, "CHUNK_SAMPLES", 4 * SAMPLE_RATE)
    model, extractor = Direct(BANDS), Mel()

    def peak(seconds: int) -> int:
        def pieces() -> Iterator[np.ndarray]:
            for _ in range(seconds):
                yield syllables(1.0)

        tracemalloc.start()
        codes = encode_stream(model, extractor, pieces(), CPU)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(codes) == 25 * seconds
        return peak_bytes

    assert peak(100) < 1.1 * peak(20)


def test_a_file_is_read_in_pieces_up_to_the_given_duration(tmp_path):
    ffmpeg.write_wav(tmp_path / "long.wav", syllables(100.0))
    pieces = list(ffmpeg.stream_audio(tmp_path / "long.wav"))
    assert len(pieces) > 2
    whole = ffmpeg.extract_audio(tmp_path / "long.wav")
    assert np.array_equal(np.concatenate(pieces), whole) and len(whole) == 100 * SAMPLE_RATE
    start = ffmpeg.extract_audio(tmp_path / "long.wav", duration_s=3.0)
    assert np.array_equal(start, whole[: 3 * SAMPLE_RATE])
