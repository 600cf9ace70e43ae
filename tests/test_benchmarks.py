"""The benchmarks run, and count right; what they measure is nobody's promise here."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import core
from benchmarks.pieces import Contest, counting, evaluations
from tests.adnerf_core.toy import SIZE


@pytest.fixture(scope="module")
def contest(toy_run) -> Contest:
    return Contest(toy_run, "cpu", rays=64, paper_width=16)


def test_a_small_benchmark_prints_and_writes_its_figures(toy_run, tmp_path, capsys):
    out = tmp_path / "results" / "core.json"
    small = [
        "--rounds",
        "1",
        "--rays",
        "64",
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


def test_a_step_trains_and_a_frame_has_its_pixels(contest):
    for side in core.SIDES:
        steps = contest.steps(side)
        before = [weight.clone() for weight in steps.task.model.head.parameters()]
        steps()
        after = list(steps.task.model.head.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        frames = contest.frames(side, 16, 0.25)
        assert frames().shape == (64, 3) and frames.whole == 4


def test_evaluations_are_counted_where_the_fields_are_asked(contest):
    paper = contest.frames("paper", 16, 0.25)
    published = contest.paper_config.paper
    a_ray = (published.coarse - 1) + (published.coarse + published.fine - 1)  # the far plane is not asked for
    assert evaluations(paper, 2) == 2 * a_ray  # head and torso
    fast = contest.frames("fast", 32)
    assert 0 < evaluations(fast, 2) < 2 * contest.fast_config.march.samples
    with counting(fast.subject.model) as counts:
        pass
    fast()
    assert counts == []


def test_a_child_tells_its_own_memory(toy_run):
    given = core.make_parser().parse_args(["--run", str(toy_run.root), "--rays", "16", "--paper-width", "8"])
    assert 50 < core.in_a_child(given, "frame fast")["peak_memory_mb"] < 4000


def test_time_goes_to_the_stage_that_ran():
    times = iter([0.0, 1.0, 3.0, 3.5, 10.0])
    clock = core.StageClock(lambda: next(times))
    for stage in ("survey", "survey", "track", "track"):
        clock(stage, 0, 1)
    assert clock.seconds == {"survey": 3.0, "track": 7.0}
