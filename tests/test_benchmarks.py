"""The benchmarks of the core run and count correctly. The measured values are not tested."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import benchmarks.render
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.face.lip_pca import LIP_CHIN_LANDMARKS, LOWER_INNER, LipPca
from benchmarks import core, strangers
from benchmarks.pieces import Comparison, counting, evaluations
from tests.adnerf_core.toy import SIZE


@pytest.fixture(scope="module")
def comparison(toy_run) -> Comparison:
    """The comparison on the toy, with small networks of the paper."""
    return Comparison(toy_run, "cpu", rays=64, paper_width=16)


def test_a_small_benchmark_prints_and_writes_its_figures(toy_run, tmp_path, capsys):
    out = tmp_path / "results" / "core.json"
    small = [
        "--rounds",
        "1",
        "--rays",
        "1024",
        "--share",
        "0.002",
        "--sizes",
        "32",
        "--paper-width",
        "16",
        "--skip",
        "preprocess",
        "memory",
    ]
    figures = core.main(["--run", str(toy_run.root), "--json", str(out), *small])
    assert json.loads(out.read_text()) == figures == json.loads(capsys.readouterr().out.splitlines()[-1])
    cpu = figures["cpu"]
    assert cpu["step_ratio"] == pytest.approx(cpu["step_s"]["paper"] / cpu["step_s"]["fast"], rel=0.02)
    assert cpu["frame_128_ratio"] == pytest.approx(cpu["frame_128_s"]["paper"] / cpu["frame_128_s"]["fast"], rel=0.02)
    assert cpu["paper_frame_estimated_from_share"] == pytest.approx(0.002, rel=0.02)
    assert cpu["frames_per_second"].keys() == {"32"}
    assert figures["machine"]["cores"] >= 1 and figures["run"]["size_px"] == SIZE
    assert sorted(path.name for path in toy_run.root.iterdir() if path.name.startswith("bench")) == []


def test_a_step_trains_and_a_frame_has_its_pixels(comparison):
    for side in core.SIDES:
        steps = comparison.steps(side)
        before = [weight.clone() for weight in steps.task.model.head.parameters()]
        steps()
        after = list(steps.task.model.head.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        frames = comparison.frames(side, 16, 0.25)
        assert frames().shape == (64, 3) and frames.frame_factor == 4


def test_every_query_of_a_field_is_counted_as_an_evaluation(comparison):
    paper = comparison.frames("paper", 16, 0.25)
    published = comparison.paper_config.paper
    # The field is not evaluated on the far plane.
    per_ray = (published.coarse - 1) + (published.coarse + published.fine - 1)
    assert evaluations(paper, 2) == 2 * per_ray  # head and torso
    fast = comparison.frames("fast", 32)
    assert 0 < evaluations(fast, 2) < 2 * comparison.fast_config.march.samples
    with counting(fast.subject.model) as counts:
        pass
    fast()
    assert counts == []


def test_a_child_process_reports_its_own_memory(toy_run):
    args = core.make_parser().parse_args(["--run", str(toy_run.root), "--rays", "16", "--paper-width", "8"])
    assert 50 < core.run_in_child(args, "frame fast")["peak_memory_mb"] < 4000


def test_each_part_of_a_full_frame_is_timed_by_itself(toy_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmarks.render, "SPOKEN_S", 0.4)
    monkeypatch.setattr(benchmarks.render, "HEARD_S", 1.0)
    monkeypatch.setattr(
        "sys.argv", ["render", str(toy_run.root), "--frames", "2", "--json", str(tmp_path / "out.json")]
    )
    benchmarks.render.main()
    full = json.loads((tmp_path / "out.json").read_text())["full"]
    parts = {name: value for name, value in full.items() if name.endswith("_cpu_s") and name != "cpu_s"}
    assert {"hear_cpu_s", "decode_cpu_s", "encode_cpu_s"} < parts.keys() and min(parts.values()) >= 0
    assert sum(parts.values()) == pytest.approx(full["cpu_s"], rel=0.02) and full["evaluations_a_pixel"] > 0.1
    monkeypatch.setattr("sys.argv", ["render", str(toy_run.root), "--memory", "1", "--size", "64"])
    benchmarks.render.main()
    memory = json.loads(capsys.readouterr().out.splitlines()[-1])["memory"]
    assert memory["frames"] == 25 and len(memory["rss_mb"]) == len(memory["ffmpeg_rss_mb"]) == 10


def test_time_is_counted_for_the_stage_that_ran():
    times = iter([0.0, 1.0, 3.0, 3.5, 10.0])
    clock = core.StageClock(lambda: next(times))
    for stage in ("survey", "survey", "track", "track"):
        clock(stage, 0, 1)
    assert clock.seconds == {"survey": 3.0, "track": 7.0}


def test_drawn_speakers_are_compared_with_their_own_lips(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(strangers, "DRAWN", {"en-us+f3": "My name is Bob."})
    out = tmp_path / "strangers.json"
    figures = strangers.main([str(toy_run.root), "--json", str(out)])
    assert json.loads(out.read_text()).keys() == figures.keys() == {"en-us+f3"}
    assert -1 <= figures["en-us+f3"].correlation <= 1 and figures["en-us+f3"].amplitude > 0
    speaker = strangers.drawn_speaker("en-us+f3", "My name is Bob.")
    monkeypatch.setattr(strangers, "predicted_opening", lambda subject, speech: 0.5 * speaker.opening + 0.1)
    lip_pca = LipPca(np.zeros((len(LIP_CHIN_LANDMARKS), 3)), np.zeros((1, len(LIP_CHIN_LANDMARKS), 3)))
    for landmark in LOWER_INNER:
        lip_pca.components[0, LIP_CHIN_LANDMARKS.index(landmark), 1] = -float(np.std(speaker.opening))
    subject = SimpleNamespace(lip_pca=lip_pca)
    assert strangers.follow(subject, speaker) == pytest.approx((1.0, 0.5, 0.5), rel=1e-4)
    assert speaker.opening.max() > 0.1 and len(speaker.opening) == len(speaker.speech) // (SAMPLE_RATE // FPS)
