"""The voices of a worker: a speech server on the loopback address, and the announcement with samples."""

from __future__ import annotations

import io
import json
import threading
import wave

import pytest

from adnerf_core.errors import MissingBackend
from storage.errors import BadSetting
from storage.tables import voices
from tests.receivers import Receiver
from tests.worker.stub_core import READ, StubVoices
from worker.speech import announcer
from worker.speech.announcer import Announcer
from worker.speech.server_voices import ServerEngine
from worker.speech.voices import Voices


def tone(rate=24_000):
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", None))
        file.writeframes(b"\x00\x40\x00\xc0" * (rate // 4))
    return data.getvalue()


def test_a_server_reads_passages_with_the_key_of_the_operator(settings, tmp_path):
    with Receiver(200, answer=tone()) as server:
        settings = settings.replace(
            speech_url=server.url, speech_key="secret", speech_voices="nova, alloy", speech_networks="127.0.0.0/8"
        )
        here = Voices(settings)
        names = [voice.id for voice in here.voices() if voice.engine == "server"]
        assert names == ["server-nova", "server-alloy"]
        spoken = here.speak("Hello. Bye.", "server-alloy", tmp_path / "a.wav", speed=1.5)
    assert [text for *_, text in spoken] == ["Hello.", "Bye."]
    first = server.received[0]
    assert first.path == "/hook/audio/speech" and first.headers["authorization"] == "Bearer secret"
    asked = {"model": "tts-1", "response_format": "wav", "input": "Hello.", "voice": "alloy", "speed": 1.5}
    assert json.loads(first.body) == asked


def test_a_server_in_a_network_that_is_not_named_is_not_called(settings):
    with Receiver(200, answer=tone()) as server:
        engine = ServerEngine(settings.replace(speech_url=server.url))
        with pytest.raises(MissingBackend, match="cannot be used"):
            engine.load(engine.voices()[0])("Hello", 1.0)
        assert server.received == []
    with pytest.raises(BadSetting, match="ADNERF_SPEECH_NETWORKS"):
        ServerEngine(settings.replace(speech_networks="home"))


@pytest.mark.parametrize("status", [500, 302, 401])
def test_a_server_that_refuses_is_an_error_without_its_words(settings, status):
    with Receiver(status, answer=b"your key sk-123 is wrong") as server:
        engine = ServerEngine(settings.replace(speech_url=server.url, speech_networks="127.0.0.0/8"))
        with pytest.raises(MissingBackend) as caught:
            engine.load(engine.voices()[0])("Hello", 1.0)
    assert str(status) in caught.value.message and "sk-123" not in caught.value.message + caught.value.remedy
    assert "sk-123" in caught.value.details


def test_a_voice_that_this_worker_lacks_is_named(settings, tmp_path):
    with pytest.raises(MissingBackend, match="no voice piper-x"):
        Voices(settings).speak("Hello", "piper-x", tmp_path / "a.wav")


def test_a_voice_stays_loaded_until_another_reads(settings, tmp_path, monkeypatch):
    loaded = []
    load = ServerEngine.load
    monkeypatch.setattr(ServerEngine, "load", lambda engine, voice: loaded.append(voice.id) or load(engine, voice))
    with Receiver(200, answer=tone()) as server:
        here = Voices(
            settings.replace(speech_url=server.url, speech_voices="nova, alloy", speech_networks="127.0.0.0/8")
        )
        for name in ("nova", "nova", "alloy", "nova"):
            here.speak("Hello.", f"server-{name}", tmp_path / "a.wav")
    assert loaded == ["server-nova", "server-alloy", "server-nova"]


def test_a_sample_that_is_too_large_for_the_database_is_not_stored(house, monkeypatch):
    monkeypatch.setattr(announcer, "LARGEST_SAMPLE", 10)
    Announcer(StubVoices(house.settings), house.database, threading.Event()).announce()
    with house.database.session(write=False) as session:
        (voice,) = voices.known(session)
    assert voice.sample_sha256 is None


def test_voices_are_announced_with_a_sample(house):
    READ.clear()
    Announcer(StubVoices(house.settings), house.database, threading.Event()).announce()
    with house.database.session(write=False) as session:
        (voice,) = voices.known(session)
        sample, digest = voices.sample(session, "stub-ada")
    assert (voice.id, voice.licence, voice.sample_sha256) == ("stub-ada", "CC0-1.0", digest) and sample
    Announcer(StubVoices(house.settings), house.database, threading.Event()).announce()
    assert len(READ) == 1  # the sample is there already
