"""Another speaker's voice: what is measured in the reference, and the way from there to figures."""

import json

import numpy as np
import pytest

from adnerf_core import cli
from adnerf_core.errors import NoFaceFound
from adnerf_core.evaluation import cross_driven
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from tests.adnerf_core.clips import syllables, voice, write


def test_the_opening_of_the_reference_is_that_of_the_speaker(speaker_video):
    frames = list(ffmpeg.read_frames(speaker_video.path, duration_s=4))
    told = []
    seen = cross_driven.openings(frames, told.append)
    assert told[-1] == len(seen) == 100
    assert np.corrcoef(seen, speaker_video.truth.opening[:100])[0, 1] > 0.8
    half = cross_driven.openings([frame[::2, ::2] for frame in frames[:20]])
    assert np.allclose(half, seen[:20], atol=0.05)


def test_figures_go_from_the_command_line_to_a_file(toy_run, speaker_video, tmp_path, monkeypatch, capsys):
    """The toy has hardly a face, so the figures mean nothing, but they are there; frames and lag are the reference's."""
    monkeypatch.setattr(cross_driven, "MOST_FRAMES", 40)
    out = tmp_path / "figures.json"
    arguments = ["evaluate", str(toy_run.root), "--reference", str(speaker_video.path), "--json", str(out)]
    assert cli.main(arguments) == 0
    figures = json.loads(out.read_text())
    assert figures == json.loads(capsys.readouterr().out)
    assert figures["other_voice_frames"] == 40
    assert figures["other_voice_sync"] is None or abs(figures["other_voice_sync"]) < 0.6
    assert abs(figures["other_voice_lag_ms"]) < 400


def test_the_lips_drawn_are_compared_with_those_of_the_reference(toy_run, speaker_video, tmp_path, monkeypatch):
    """Where the speaker's own pictures stand in for the rendering, the figures are perfect."""
    monkeypatch.setattr(cross_driven, "MOST_FRAMES", 75)
    own = list(ffmpeg.read_frames(speaker_video.path, duration_s=3))
    monkeypatch.setattr(cross_driven, "render_frames", lambda subject, codes, *rest: own[: len(codes)])
    sound = tmp_path / "sound.wav"
    ffmpeg.write_wav(sound, ffmpeg.extract_audio(speaker_video.path))
    figures = cross_driven.evaluate_cross_driven(toy_run, speaker_video.path, sound)
    assert figures["other_voice_sync"] == pytest.approx(1) and figures["other_voice_amplitude"] == pytest.approx(1)


def test_a_reference_without_a_face_is_refused(toy_run, tmp_path):
    opening = syllables(30)
    empty = write(tmp_path / "empty.mp4", (np.full((64, 64, 3), 90, np.uint8) for _ in opening), voice(opening))
    with pytest.raises(NoFaceFound):
        cross_driven.evaluate_cross_driven(RunDir(toy_run.root), empty)


def test_audio_alone_is_no_reference(toy_run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(toy_run.root), "--audio", str(tmp_path / "other.wav")])
    assert "--reference" in capsys.readouterr().err
