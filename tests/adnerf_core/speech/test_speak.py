"""Scripts become sound, by a voice that is in a package, and it is known when each passage is said."""

from __future__ import annotations

import wave

import numpy as np
import pytest

from adnerf_core.errors import MediaTooLong, NothingToSay
from adnerf_core.speech.engine import Sound
from adnerf_core.speech.hibari import HibariEngine
from adnerf_core.speech.speak import speak

hibari = pytest.importorskip("hibari", reason="the package hibari-tts is optional")


@pytest.fixture(scope="module")
def heart():
    engine = HibariEngine()
    voice = engine.voices()[0]
    assert (voice.id, voice.language, voice.licence) == ("hibari-heart", "en-US", "Apache-2.0")
    return engine.load(voice)


def read(path):
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        return samples, file.getframerate()


def level(samples):
    return np.sqrt(np.mean(samples**2)) if len(samples) else 0.0


def test_passages_are_loud_where_they_are_said_and_silent_between(heart, tmp_path):
    script = "Hello, this is a test. [pause 1s] It has two parts."
    spoken = speak(heart, script, tmp_path / "a.wav")
    samples, rate = read(tmp_path / "a.wav")
    assert [text for *_, text in spoken] == ["Hello, this is a test.", "It has two parts."]
    (start, end, _), (again, last, _) = spoken
    assert (
        start == 0
        and again - end == pytest.approx(1.25, abs=0.01)
        and len(samples) / rate == pytest.approx(last, abs=0.01)
    )
    assert level(samples[: int(end * rate)]) > 0.02 > 100 * level(samples[int(end * rate) + 1 : int(again * rate)])
    speak(heart, script, tmp_path / "b.wav")
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()


def test_speed_changes_the_length(heart, tmp_path):
    lengths = [
        speak(heart, "This is a sentence.", tmp_path / "a.wav", speed=speed)[-1].end_s for speed in (0.5, 1.0, 2.0)
    ]
    assert 1.4 < lengths[0] / lengths[1] < 2.4 and 1.4 < lengths[1] / lengths[2] < 2.4


def test_what_people_write_does_not_break_the_voice(heart, tmp_path):
    script = (
        "Dr. Smith paid $9.99 on 3/4/2024 at 7:30 pm — that's 1,250,000 yen (approx.), i.e. 100% of it! 😀\n"
        "Привет, 你好, Straße, naïve café, C++ & C#; @home #1 https://example.com/a?b=c <b>x</b> [name](/neɪm/) ***\n\n"
        "NASA's 2nd 3.5mm jack… \"quoted\" 'single' ½ ∑ ∞ 一 x² 10°C +49 89 1234"
    )
    spoken = speak(heart, script, tmp_path / "a.wav")
    assert len(spoken) >= 3 and spoken[-1].end_s > 10


def test_a_script_that_the_voice_cannot_read_is_refused(heart, tmp_path):
    with pytest.raises(NothingToSay):
        speak(heart, "你好，世界。", tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()


def test_a_very_short_script_is_long_enough_for_a_video(tmp_path):
    click = Sound(np.full(240, 0.5, np.float32), 24_000)
    speak(lambda text, speed: click, "Hm.", tmp_path / "a.wav")
    samples, rate = read(tmp_path / "a.wav")
    assert len(samples) == 0.5 * rate


def test_a_voice_that_never_ends_is_stopped_before_it_fills_the_memory(tmp_path):
    minutes = Sound(np.full(120 * 4000, 0.5, np.float32), 4000)
    with pytest.raises(MediaTooLong):
        speak(lambda text, speed: minutes, "Hm. " * 100, tmp_path / "a.wav")
    assert not (tmp_path / "a.wav").exists()
