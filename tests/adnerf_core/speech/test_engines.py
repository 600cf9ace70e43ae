"""Engines that the operator installs: the program espeak-ng, and ONNX files of Piper and Kokoro. All are played by small real ones."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from adnerf_core.errors import MissingBackend
from adnerf_core.speech.espeak import EspeakEngine
from adnerf_core.speech.onnx_voices import KokoroEngine, PiperEngine, piper_ids
from adnerf_core.speech.wav import read_wav, wav_bytes
from demo import speech as library

PROGRAM = f"""#!{sys.executable}
# The arguments of espeak-ng that are used, carried out by the library of the same name.
import io, sys, wave
sys.path.insert(0, {str(Path(library.__file__).parents[1])!r})
words = sys.argv[1:]
if words == ["--voices"]:
    print("Pty Language       Age/Gender VoiceName          File                 Other Languages")
    print(" 5  de              --/M      German             gmw/de")
    print(" 2  en-us           --/M      English_(America)  gmw/en-US            (en 3)")
    raise SystemExit
from demo import speech
text = sys.stdin.buffer.read().decode()
if "--ipa" in words:
    print("".join(each.name for each in speech.speak(text, voice=words[words.index("-v") + 1]).phonemes))
    raise SystemExit
assert words[4:] == ["-b", "1", "--stdin", "--stdout"], words
made = speech.speak(text, voice=words[1], words_per_minute=int(words[3]))
with wave.open(sys.stdout.buffer, "wb") as file:
    file.setparams((1, 2, made.rate, 0x3FFFFFFF, "NONE", None))  # a stream's header: the length is not known
    try:
        file.writeframesraw((made.samples * 32767).astype("<i2").tobytes())
        sys.stdout.buffer.flush()
    finally:
        import os
        os._exit(0)
"""


@pytest.fixture
def espeak(tmp_path, monkeypatch):
    """A folder on the PATH with a program of this name."""
    program = tmp_path / "espeak-ng"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


def test_espeak_reads_in_the_language_of_the_voice(espeak):
    engine = EspeakEngine()
    english, german = engine.voices()
    assert (english.id, english.name, german.id) == ("espeak-en-us", "English (America)", "espeak-de")
    assert english.licence == "GPL-3.0-or-later"
    sound = engine.load(german)("Guten Tag, -v --stdout; $(reboot)", 1.0)
    assert sound.rate == 22_050 and len(sound.samples) > sound.rate and np.abs(sound.samples).max() > 0.1
    quick = engine.load(german)("Guten Tag, -v --stdout; $(reboot)", 2.0)
    assert len(quick.samples) < 0.8 * len(sound.samples)


def test_without_the_program_there_are_no_voices_and_its_failure_is_said(espeak, monkeypatch):
    engine = EspeakEngine()
    voice = engine.voices()[0]
    espeak.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(MissingBackend, match="failed"):
        engine.load(voice)("Hello", 1.0)
    monkeypatch.setenv("PATH", "/nowhere")
    assert engine.voices() == []
    with pytest.raises(MissingBackend, match="not installed"):
        engine.load(voice)


def test_an_answer_that_is_no_wav_is_an_error_of_the_engine():
    for data in (b"", b"RIFF", b"<html>", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0" + bytes(20)):
        with pytest.raises(MissingBackend, match="WAV"):
            read_wav(data)


@pytest.mark.parametrize("rate", [3_999, 192_001, 2_000_000_000])
def test_a_sample_rate_that_no_speech_has_is_an_error_of_the_engine(rate):
    with pytest.raises(MissingBackend, match="WAV"):
        read_wav(wav_bytes(np.zeros(100), rate))


MAP = {"_": [0], "^": [1], "$": [2], " ": [3], ".": [10], "a": [14], "h": [20], "l": [24]}


def piper_voice(folder, name, **config):
    inputs = {"input": (7, (1, "n")), "input_lengths": (7, (1,)), "scales": (1, (3,))}
    (folder / f"{name}.onnx").write_bytes(toy_model(inputs))
    about = {
        "audio": {"sample_rate": 16_000},
        "language": {"code": "en_GB"},
        "phoneme_id_map": MAP,
        "phoneme_type": "text",
    }
    (folder / f"{name}.onnx.json").write_text(json.dumps(about | config))


def test_voices_of_piper_are_read_with_their_licence_and_their_numbers(tmp_path):
    piper_voice(tmp_path, "en_GB-alan")
    piper_voice(tmp_path, "xx-pinyin", phoneme_type="pinyin")  # nobody reads it
    (tmp_path / "en_GB-alan.licence.txt").write_text("CC0-1.0\nmore\n")
    (tmp_path / "other.onnx").write_bytes(b"not a voice")
    engine = PiperEngine(tmp_path)
    (voice,) = engine.voices()
    assert (voice.id, voice.language, voice.licence) == ("piper-en_GB-alan", "en-GB", "CC0-1.0")
    config = json.loads((tmp_path / "en_GB-alan.onnx.json").read_text())
    assert piper_ids(config, "Hal!") == [1, 0, 20, 0, 14, 0, 24, 0, 2]  # what it does not know is left out
    sound = engine.load(voice)("Hal", 2.0)
    assert sound.rate == 16_000 and sound.samples.tolist() == [1, 0, 20, 0, 14, 0, 24, 0, 2]
    assert len(engine.load(voice)("!?", 1.0).samples) == 0


def test_voices_of_piper_that_need_espeak_are_offered_where_it_is(tmp_path, espeak, monkeypatch):
    piper_voice(tmp_path, "de", phoneme_type="espeak", espeak={"voice": "de"})
    engine = PiperEngine(tmp_path)
    assert [voice.id for voice in engine.voices()] == ["piper-de"]
    config = json.loads((tmp_path / "de.onnx.json").read_text())
    ids = piper_ids(config, "Hallo.")
    assert ids[:4] == [1, 0, 20, 0] and ids[-3:] == [10, 0, 2]
    monkeypatch.setenv("PATH", "/nowhere")
    assert engine.voices() == []


def test_a_damaged_file_is_an_error_of_the_engine(tmp_path):
    piper_voice(tmp_path, "bad")
    (tmp_path / "bad.onnx").write_bytes(b"damaged")
    engine = PiperEngine(tmp_path)
    with pytest.raises(MissingBackend, match=r"bad\.onnx cannot be loaded"):
        engine.load(engine.voices()[0])


def test_english_voices_of_kokoro_read_with_the_style_of_their_length(tmp_path):
    pytest.importorskip("hibari", reason="the package hibari-tts is optional")
    inputs = {"style": (1, (1, 256)), "tokens": (7, (1, "n")), "speed": (1, (1,))}
    (tmp_path / "kokoro-v1.onnx").write_bytes(toy_model(inputs))
    styles = np.arange(510, dtype=np.float32)[:, None, None].repeat(256, 2)
    with (tmp_path / "voices-v1.bin").open("wb") as file:
        np.savez(file, af_heart=styles, bf_emma=styles, zf_xiaoxiao=styles)
    engine = KokoroEngine(tmp_path)
    heart, emma = engine.voices()  # nobody here reads Chinese
    assert (heart.id, heart.language, emma.id, emma.language) == ("kokoro-af_heart", "en-US", "kokoro-bf_emma", "en-GB")
    sound = engine.load(emma)("Hello, world.", 1.0)
    assert sound.rate == 24_000 and len(set(sound.samples)) == 1
    assert 8 < sound.samples[0] < 20  # the row of the style: as many phonemes as are read
    assert len(engine.load(heart)("你好", 1.0).samples) == 0
    (tmp_path / "voices-v1.bin").unlink()
    assert engine.voices() == []


def toy_model(inputs):
    """An ONNX model with these inputs (name: type, shape) whose output is the first one as floats: ModelProto, written by hand."""

    def field(number, value):
        if isinstance(value, int):
            return _varint(number << 3) + _varint(value)
        data = value.encode() if isinstance(value, str) else value
        return _varint(number << 3 | 2) + _varint(len(data)) + data

    def tensor(name, kind, *dims):
        shape = b"".join(field(1, field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims)
        return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))

    to_float = field(1, "to") + field(20, 2) + field(3, 1)  # an attribute of type INT with the value FLOAT
    node = field(1, next(iter(inputs))) + field(2, "output") + field(4, "Cast") + field(5, to_float)
    graph = field(1, node) + field(2, "toy")
    for name, (kind, dims) in inputs.items():
        graph += field(11, tensor(name, kind, *dims))
    graph += field(12, tensor("output", 1, 1, "n"))
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


def _varint(number):
    data = bytearray()
    while number > 127:
        data.append(number & 127 | 128)
        number >>= 7
    return bytes([*data, number])
