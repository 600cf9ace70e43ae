"""The benchmark of a GPU: its dry run on a CPU, parts that fail or hang, and a machine without a device."""

from __future__ import annotations

import json
import time

import pytest
import torch

from benchmarks import gpu


def test_without_a_device_it_says_so(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "needs a CUDA device" in capsys.readouterr().err


def test_a_dry_run_measures_the_parts_and_goes_on_after_one_that_fails(toy_run, tmp_path):
    out = tmp_path / "gpu.json"
    parts = ["steps", "training", "portraits", "full_frames", "encoding", "paper"]
    arguments = [
        "--device",
        "cpu",
        "--seconds",
        "2",
        "--preset",
        "draft",
        "--run",
        str(toy_run.root),
        "--json",
        str(out),
    ]
    assert gpu.main([*arguments, "--parts", "prepare", "broken", *parts]) == 0
    figures = json.loads(out.read_text())
    assert figures["machine"]["cores"] >= 1 and figures["device"] == "cpu"
    assert "ZeroDivisionError" in figures["broken"]["error"] and figures["broken"]["trace"]
    assert figures["steps"]["plain"]["steps_a_second"] > 0
    assert not figures["training"]["finished"] and figures["training"]["steps"]["audio"]
    assert figures["portraits"]["frames_a_second_256"] > 0 and figures["full_frames"]["video_frames_a_second"] > 0
    assert figures["encoding"]["cpu_frames_a_second"] > 0 and figures["paper"]["steps_a_second"] > 0


def broken(job: gpu.Job) -> dict:
    return {"never": 1 / 0}


def hanging(job: gpu.Job) -> dict:
    time.sleep(60)


@pytest.fixture(autouse=True)
def part_that_fails(monkeypatch):
    monkeypatch.setitem(gpu.PARTS, "broken", (0.01, broken))


def test_a_part_that_hangs_is_ended(tmp_path):
    running = gpu._Running(hanging, gpu.Job("cpu", 0.1, tmp_path, None, None, "draft"))
    assert "not finished" in running.result(0.2)["error"] and not running.process.is_alive()


def test_sessions_run_at_once(toy_run, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "SESSIONS", (2,))
    figures = gpu.sessions(gpu.Job("cpu", 1.0, tmp_path, None, toy_run.root, "draft"))
    assert len(figures["frames_a_second"]["2"]) == 2 and min(figures["frames_a_second"]["2"]) > 0
