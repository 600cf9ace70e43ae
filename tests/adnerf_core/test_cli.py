"""The core's command line: what it prints and the status it returns."""

import json
import re

import numpy as np
import pytest

from adnerf.__main__ import main as adnerf
from adnerf_core.cli import main
from adnerf_core.files import ffmpeg
from adnerf_core.synthesis import render as rendering
from adnerf_core.synthesis.render import RenderedVideo
from adnerf_core.synthesis.visible_label import DEFAULT_TEXT
from adnerf_core.watermark import detect as detection


def test_every_command_explains_itself(capsys):
    for command in ("preprocess", "train", "render", "detect-mark", "evaluate", "import-adnerf", "export-adnerf"):
        assert main([command, "--help"]) == 0
        assert "--" in capsys.readouterr().out


def test_both_programs_say_their_version_and_that_of_ffmpeg(capsys):
    for program in (main, adnerf):
        assert program(["--version"]) == 0
        assert re.match(r"adnerf [\d.]+; ffmpeg \S+, packaged\n", capsys.readouterr().out)


def test_help_shows_examples_line_by_line(capsys):
    assert main(["-h"]) == 0
    assert "\n  python -m adnerf_core train data/me" in capsys.readouterr().out.replace("\n    ", "\n  ")


@pytest.mark.parametrize(
    ("arguments", "label"),
    [
        ([], False),
        (["--label"], DEFAULT_TEXT),
        (["--label", "--seed", "1"], DEFAULT_TEXT),
        (["--label", "made by a model"], "made by a model"),
        (["--label=made by a model"], "made by a model"),
    ],
)
def test_a_label_needs_no_text(arguments, label, monkeypatch):
    calls = []

    def render(run, audio, out, options, *rest, **more):
        calls.append(options)
        return RenderedVideo(25, 1.0, 64, 64, options.view, "portrait")

    monkeypatch.setattr(rendering, "render", render)
    assert main(["render", "run", "a.wav", "--out", "out.mp4", *arguments]) == 0
    assert calls[0].label == label


def test_ctrl_c_returns_130_and_says_how_to_continue(monkeypatch, capsys):
    def detect(video, key):
        raise KeyboardInterrupt

    monkeypatch.setattr(detection, "detect", detect)
    assert main(["detect-mark", "a.mp4"]) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_a_video_is_rendered_from_a_run(toy_run, tmp_path, capsys):
    ffmpeg.write_wav(tmp_path / "a.wav", np.zeros(16000, np.float32))
    out = tmp_path / "out.mp4"
    view = ["--yaw", "10", "--zoom", "1.2", "--background", "#204060", "--pose", "still", "--size", "64"]
    assert main(["render", str(toy_run.root), str(tmp_path / "a.wav"), "--out", str(out), *view]) == 0
    assert "25 frames of 64x64" in capsys.readouterr().out
    assert ffmpeg.probe(out).width == 64


def test_a_silent_loop_is_rendered_for_a_duration(toy_run, tmp_path, capsys):
    out = tmp_path / "loop.mp4"
    assert main(["render", str(toy_run.root), "--out", str(out), "--duration", "1.2"]) == 0
    assert "30 frames of 80x64, full" in capsys.readouterr().out and not ffmpeg.probe(out).has_audio


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either AUDIO or --duration"),
        (["a.wav", "--duration", "2"], "either AUDIO or --duration"),
        (["--duration", "0.1"], "--duration is 0.3 to"),
        (["a.wav", "--frame", "full", "--yaw", "3"], "`view` can only be changed with frame `portrait`"),
        (["a.wav", "--motion", "1.6"], "motion"),
    ],
)
def test_wrong_options_of_a_video_return_2(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(["render", "run", "--out", str(tmp_path / "out.mp4"), *arguments])
    assert stop.value.code == 2 and message in " ".join(capsys.readouterr().err.split()).replace("│ ", "")


def test_the_file_name_decides_the_format_and_a_limited_view_is_reported(toy_run, tmp_path, capsys):
    ffmpeg.write_wav(tmp_path / "a.wav", np.zeros(8000, np.float32))
    out = tmp_path / "out.webm"
    more = ["--yaw", "-30", "--background", "transparent", "--size", "64"]
    assert main(["render", str(toy_run.root), str(tmp_path / "a.wav"), "--out", str(out), *more]) == 0
    assert "the footage supports less: yaw -" in capsys.readouterr().out and ffmpeg.probe(out).width == 64
    with pytest.raises(SystemExit):
        main(["render", str(toy_run.root), "a.wav", "--out", str(out.with_suffix(".mp4")), *more])
    assert "needs format `webm`" in capsys.readouterr().err


def test_a_number_is_written_into_a_video_and_read_again(toy_run, tmp_path, capsys):
    ffmpeg.write_wav(tmp_path / "a.wav", np.zeros(32000, np.float32))
    (tmp_path / "key").write_text("0f" * 16 + "\n")
    out, key = str(tmp_path / "out.mp4"), ["--key-file", str(tmp_path / "key")]
    rendering = ["render", str(toy_run.root), str(tmp_path / "a.wav"), "--out", out, "--pose", "still"]
    assert main([*rendering, "--mark", "81985529216486", *key]) == 0
    capsys.readouterr()
    assert main(["detect-mark", out, *key]) == 0
    detected = json.loads(capsys.readouterr().out)
    assert detected["found"] and detected["number"] == 81985529216486 and detected["false_alarm"] < 1e-12
    assert main(["detect-mark", out]) == 0  # with the public key
    assert json.loads(capsys.readouterr().out) == {"found": False}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mark", str(1 << 48)], "no number from 0"),
        (["--mark", "-1"], "--mark"),
        (["--key-file", "short"], "a key has 16 or more"),
        (["--key-file", "words"], "no hexadecimal digits"),
        (["--key-file", "nowhere"], "No such file"),
    ],
)
def test_a_wrong_mark_or_key_returns_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short").write_text("0f0f")
    (tmp_path / "words").write_text("no secret at all")
    with pytest.raises(SystemExit) as stop:
        main(["render", "run", "a.wav", "--out", "out.mp4", *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_errors_print_code_and_remedy_and_return_1(tmp_path, capsys):
    (tmp_path / "a.mp4").write_text("no media")
    assert main(["preprocess", str(tmp_path / "a.mp4"), "--out", str(tmp_path / "dataset")]) == 1
    assert capsys.readouterr().err.splitlines()[-2].startswith("not_media: ")
    assert main(["train", str(tmp_path / "nothing"), "--out", str(tmp_path / "run")]) == 1
    assert "not_ready: " in capsys.readouterr().err


def test_options_that_make_no_sense_return_2(toy_run, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["render", str(toy_run.root), "a.wav", "--out", str(tmp_path / "out.mp4"), "--yaw", "45"])
    assert stop.value.code == 2 and "yaw_deg" in capsys.readouterr().err


def test_the_run_records_what_it_was_made_with(toy_run):
    written = json.loads(toy_run.manifest.read_text())
    assert {"dataset", "source", "config", "versions"} <= written.keys()
