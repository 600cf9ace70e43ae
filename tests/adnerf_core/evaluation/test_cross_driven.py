"""Cross-driven evaluation: the openings measured in the reference, and the figures."""

import json

import numpy as np
import pytest

from adnerf_core import cli
from adnerf_core.errors import NoFaceFound
from adnerf_core.evaluation import cross_driven
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir
from tests.adnerf_core.clips import syllables, voice, write


def test_the_measured_opening_is_that_of_the_speaker(speaker_video):
    frames = list(ffmpeg.read_frames(speaker_video.path, duration_s=4))
    counts = []
    measured = cross_driven.openings(frames, counts.append)
    assert counts[-1] == len(measured) == 100
    assert np.corrcoef(measured, speaker_video.truth.opening[:100])[0, 1] > 0.8
    half = cross_driven.openings([frame[::2, ::2] for frame in frames])
    assert np.corrcoef(half, measured)[0, 1] > 0.8
    assert np.isclose(half.mean(), measured.mean(), rtol=0.2)


def test_the_command_line_writes_the_figures(toy_run, speaker_video, tmp_path, monkeypatch, capsys):
    """The toy hardly has a face, so its figures are meaningless; the number of frames and the lag are those of the reference."""
    monkeypatch.setattr(cross_driven, "MAX_FRAMES", 40)
    out = tmp_path / "figures.json"
    arguments = ["evaluate", str(toy_run.root), "--reference", str(speaker_video.path), "--json", str(out)]
    assert cli.main(arguments) == 0
    figures = json.loads(out.read_text())
    assert figures == json.loads(capsys.readouterr().out)
    assert figures["other_voice_frames"] == 40
    assert figures["other_voice_sync"] is None or abs(figures["other_voice_sync"]) < 0.6
    assert abs(figures["other_voice_lag_ms"]) < 400


def test_the_rendered_lips_are_compared_with_the_reference(toy_run, speaker_video, tmp_path, monkeypatch):
    """If the rendering is replaced by the reference itself, the figures are perfect."""
    monkeypatch.setattr(cross_driven, "MAX_FRAMES", 75)
    pictures = list(ffmpeg.read_frames(speaker_video.path, duration_s=3))
    monkeypatch.setattr(cross_driven, "render_frames", lambda subject, codes, *rest: pictures[: len(codes)])
    sound = tmp_path / "sound.wav"
    ffmpeg.write_wav(sound, ffmpeg.extract_audio(speaker_video.path))
    figures = cross_driven.evaluate_cross_driven(toy_run, speaker_video.path, sound)
    assert figures["other_voice_sync"] == pytest.approx(1) and figures["other_voice_amplitude"] == pytest.approx(1)
    assert abs(figures["other_voice_offset_ms"]) < 5 and figures["other_voice_offset_confidence"] > 0.5


def test_a_reference_without_a_face_is_refused(toy_run, tmp_path):
    opening = syllables(30)
    empty = write(tmp_path / "empty.mp4", (np.full((64, 64, 3), 90, np.uint8) for _ in opening), voice(opening))
    with pytest.raises(NoFaceFound):
        cross_driven.evaluate_cross_driven(RunDir(toy_run.root), empty)


def test_audio_needs_a_reference(toy_run, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(toy_run.root), "--audio", str(tmp_path / "other.wav")])
    assert "--reference" in capsys.readouterr().err
