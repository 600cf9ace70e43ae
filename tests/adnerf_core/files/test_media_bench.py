"""The short version of `python -m benchmarks.media`: kinds of files that people have, read and compared with what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.errors import NoAudio
from adnerf_core.files import ffmpeg
from benchmarks.media.base import RATE, make_clip, run
from benchmarks.media.catalogue import FOOTAGE, SPEECH
from benchmarks.media.compare import measure
from benchmarks.media.kinds import written
from tests.adnerf_core import clips

SECONDS, EDGE = 4, 96
KINDS = {kind.name: kind for kind in [*FOOTAGE, *SPEECH]}
QUICK = [
    "the clip itself",
    "HLG, only its transfer function tagged",
    "SDR, BT.2020",
    "untagged HD",
    "interlaced, H.264",
    "interlaced, not marked",
    "H.264, 10 bit, 4:2:2",
    "turned, pixels of 4:3",
    "variable rate (phone)",
    "Dolby Vision, profile 5",
    "two AVCHD clips joined",
    "mono, then stereo",
    "60 ms of sound lost each second",
    "opposite phase",
    "first sound track silent (OBS)",
    "first sound track music",
    "thumbnail first (Skydio)",
    "animated GIF",
    "quad WAV",
    "MP3, mono then stereo",
    "two Opus messages joined",
    "AIFF",
    "WMA",
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    opening = clips.syllables(SECONDS * FPS, seed=3)
    sound = clips.voice(opening)
    times = np.arange(SECONDS * RATE) / RATE
    samples = np.interp(times, np.arange(len(sound)) / SAMPLE_RATE, sound)
    return make_clip(tmp_path_factory.mktemp("media"), np.stack(list(clips.speaker(opening, EDGE))), samples)


@pytest.mark.parametrize("name", QUICK)
def test_kinds_of_files_are_read_right(clip, name):
    figures = measure(clip, KINDS[name], written(clip, KINDS[name]))
    assert figures["verdict"] == ("refused" if KINDS[name].refused else "ok"), figures


def test_a_client_may_choose_the_sound_track(clip):
    path = written(clip, KINDS["first sound track silent (OBS)"])
    silent, spoken = (ffmpeg.probe(path, audio_track=track) for track in (1, 2))
    assert (
        np.abs(ffmpeg.extract_audio(path, info=silent)).max()
        < 0.01
        < np.abs(ffmpeg.extract_audio(path, info=spoken)).max()
    )
    with pytest.raises(NoAudio, match="2 sound tracks, and no track 3") as caught:
        ffmpeg.probe(path, audio_track=3)
    assert "1 to 2" in caught.value.remedy


def test_a_stream_of_an_unknown_kind_does_not_hide_the_others(clip):
    """Apple's spatial sound beside AAC: its tag is changed to one that no ffmpeg knows."""
    run(
        clip.folder,
        "-i",
        "base.mov",
        "-map",
        "0:v",
        "-map",
        "0:a",
        "-map",
        "0:a",
        "-c:v",
        "copy",
        "-c:a",
        "aac",
        "two.mov",
    )
    data = (clip.folder / "two.mov").read_bytes()
    at = data.rindex(b"mp4a")
    path = clip.folder / "unknown.mov"
    path.write_bytes(data[:at] + b"apzz" + data[at + 4 :])
    info = ffmpeg.probe(path)
    assert info.has_audio and info.audio_track == 1 and info.pictures == SECONDS * FPS
    assert len(ffmpeg.extract_audio(path, info=info)) == pytest.approx(SECONDS * SAMPLE_RATE, abs=2000)
