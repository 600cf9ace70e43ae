"""What the core costs: `python -m benchmarks.core [--run RUN] [--video VIDEO] [--json FILE]`.

Training steps and frames of the fast fields against those of the paper's networks, taken in turns in one process so that their
ratios hold on a busy machine; frames at several sizes; preprocessing by stage; peak memory, each in a process of its own.

One thread, CPU time. A frame of the paper is estimated from a share of its pixels, because whole it takes minutes. Without
--run a subject is made first: the demo's synthetic speaker, preprocessed and trained briefly. With a CUDA device the steps and
frames are measured there as well (written for it, not tried on one yet).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from adnerf_core.config import FPS, PRESETS
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.files.run_dir import RunDir, read_json
from adnerf_core.preprocess.pipeline import preprocess
from adnerf_core.training.talking_head_task import grid_update_interval
from adnerf_core.training.train import train
from benchmarks.pieces import Clock, Contest, evaluations

SIDES = ("fast", "paper")
RATIO_SIZE = 128
FAST_FRAMES = 4
SPEAKER_SECONDS, SPEAKER_STEPS = 12.0, 400
MEMORY = ("step fast", "step paper", "frame fast", "frame paper", "preprocess")


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Parses the command line, measures, prints; returns the figures."""
    given = make_parser().parse_args(arguments)
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="benchmark-") as folder:
        work = Path(folder)
        if given.piece:
            figures = piece(given, work)
            print(json.dumps(figures))
            return figures
        given.video = given.video or (None if given.run and "preprocess" in given.skip else make_speaker(work))
        given.run = given.run or make_run(given.video, work)
        figures = {"machine": machine(), "run": describe(given.run)} | measure(given, work)
    show(figures)
    print(json.dumps(figures))
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a finished run of the fast fields; its dataset must still be there")
    parser.add_argument("--video", type=Path, help="footage to preprocess (default: the synthetic speaker)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, benchmarks/results/... say")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (default: %(default)s)")
    parser.add_argument("--rays", type=int, default=1024, help="of a training step (default: %(default)s)")
    parser.add_argument(
        "--share", type=float, default=1 / 64, help="part of a frame's pixels that the paper renders (default: 1/64)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512], help="of frames, px")
    parser.add_argument("--paper-width", type=int, default=256, help="of the paper's nets, as published: %(default)s")
    parser.add_argument(
        "--skip", nargs="+", choices=("contest", "preprocess", "memory"), default=[], help="what to leave out"
    )
    parser.add_argument("--piece", choices=MEMORY, help=argparse.SUPPRESS)
    return parser


def measure(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What is not to be skipped; the contest of the two sides on CUDA, too, where there is a device."""
    figures: dict[str, Any] = {}
    if "contest" not in given.skip:
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            figures[device] = duel(given, device)
    if "preprocess" not in given.skip:
        figures["preprocess_cpu_s_per_minute"] = stages(given.video, work / "measured")
    if "memory" not in given.skip:
        pieces = [name for name in MEMORY if name not in given.skip]
        figures["peak_memory_mb"] = {name: in_a_child(given, name)["peak_memory_mb"] for name in pieces}
    return figures


def duel(given: argparse.Namespace, device: str) -> dict[str, Any]:
    """Steps and frames of both sides in turns, and the fast side's frames at all sizes; seconds, medians over the rounds."""
    contest, clock = Contest(RunDir(given.run), device, given.rays, given.paper_width), Clock(device)
    steps = {side: contest.steps(side) for side in SIDES}
    frames = {"fast": contest.frames("fast", RATIO_SIZE), "paper": contest.frames("paper", RATIO_SIZE, given.share)}
    sizes = {size: contest.frames("fast", size) for size in given.sizes}
    # As many steps of the fast fields as lie between two refreshes of the density grid, so that one is among them.
    repeats = {"fast": (grid_update_interval(given.rays), FAST_FRAMES), "paper": (1, 1)}
    for warm in (steps["fast"], frames["fast"], *sizes.values()):
        warm()
    taken: dict[str, list[float]] = {}
    for _ in range(given.rounds):
        for side in SIDES:
            many, few = repeats[side]
            taken.setdefault(f"step {side}", []).append(clock(lambda: repeat(steps[side], many)) / many)  # noqa: B023
            seconds = clock(lambda: repeat(frames[side], few)) / few * frames[side].whole  # noqa: B023
            taken.setdefault(f"frame {side}", []).append(seconds)
        for size, frame in sizes.items():
            taken.setdefault(f"size {size}", []).append(clock(frame))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    works = {f"step {side}": steps[side] for side in SIDES} | {f"frame {side}": frames[side] for side in SIDES}
    peaks = {name: device_memory(work) for name, work in works.items()} if device == "cuda" else {}
    return {
        "rays": given.rays,
        "step_s": {side: digits(middle[f"step {side}"]) for side in SIDES},
        "step_ratio": digits(middle["step paper"] / middle["step fast"]),
        f"frame_{RATIO_SIZE}_s": {side: digits(middle[f"frame {side}"]) for side in SIDES},
        f"frame_{RATIO_SIZE}_ratio": digits(middle["frame paper"] / middle["frame fast"]),
        "paper_frame_estimated_from_share": digits(1 / frames["paper"].whole),
        "evaluations_a_pixel": {side: digits(evaluations(frames[side], given.rounds)) for side in SIDES},
        "frames_per_second": {str(size): digits(1 / middle[f"size {size}"]) for size in given.sizes},
        **({"peak_device_memory_mb": peaks} if peaks else {}),
        "rounds": {name: [digits(value) for value in values] for name, values in taken.items()},
    }


def device_memory(work: Callable[[], object]) -> int:
    """Peak memory of the CUDA device during `work`, MB, with what both sides keep there."""
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() >> 20


def repeat(work: Callable[[], object], times: int) -> None:
    """Calls `work` so many times."""
    for _ in range(times):
        work()


class StageClock:
    """A Progress that adds up CPU time by stage, that of ended children (ffmpeg) included."""

    def __init__(self, now: Callable[[], float] = lambda: sum(os.times()[:4])):
        self.now, self.last = now, now()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: float, total: float) -> None:
        time_now = self.now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time_now - self.last
        self.last = time_now


def stages(video: Path, out: Path) -> dict[str, float]:
    """CPU seconds of preprocessing a minute of footage like `video`, by stage, and in all."""
    clock = StageClock()
    dataset = preprocess(video, out, progress=clock)
    minutes = dataset.frames / FPS / 60
    figures = {stage: digits(seconds / minutes) for stage, seconds in clock.seconds.items()}
    return figures | {"total": digits(sum(clock.seconds.values()) / minutes)}


def in_a_child(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """One piece in a process of its own, so that its peak memory is its own too."""
    options = ["--run", given.run, "--rays", given.rays, "--paper-width", given.paper_width, "--share", given.share]
    options += ["--video", given.video] if given.video else []
    command = [sys.executable, "-m", "benchmarks.core", "--piece", name, *map(str, options)]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout.splitlines()[-1])


def piece(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Does one thing, and tells this process's peak memory."""
    if given.piece == "preprocess":
        preprocess(given.video, work / "dataset")
    else:
        what, side = given.piece.split()
        contest = Contest(RunDir(given.run), "cpu", given.rays, given.paper_width)
        share = 1.0 if side == "fast" else given.share
        (contest.steps(side) if what == "step" else contest.frames(side, RATIO_SIZE, share))()
    return {"peak_memory_mb": peak_memory_mb()}


def peak_memory_mb() -> int:
    """The most memory this process has held. Linux's ru_maxrss will not do: a child's begins with what its parent held."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make_speaker(work: Path) -> Path:
    """Footage for those who bring none."""
    from demo.speaker import make_speaker as draw

    draw(work / "speaker.mp4", size=256, seconds=SPEAKER_SECONDS)
    return work / "speaker.mp4"


def make_run(video: Path, work: Path) -> Path:
    """A subject of `video`, trained just long enough for its density to be where a head is."""
    dataset = preprocess(video, work / "dataset")
    config = PRESETS["draft"].model_copy(update={"audio_steps": 50, "head_steps": SPEAKER_STEPS, "torso_steps": 50})
    return train(dataset, RunDir(work / "run"), config).root


def describe(run: Path) -> dict[str, Any]:
    """Of which subject the figures are."""
    config, dataset = read_json(RunDir(run).manifest)["config"], SubjectDataset(RunDir(run).dataset)
    return {
        "source": dataset.manifest["source"]["name"],
        "preset": config["preset"],
        "size_px": config["size"],
        "frames": dataset.frames,
    }


def machine() -> dict[str, Any]:
    """Where, when and with what it was measured."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit or None,
        "cpu": cpu,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def digits(value: float) -> float:
    """Three significant digits."""
    return float(f"{value:.3g}")


def show(figures: dict[str, Any]) -> None:
    """Prints the figures as tables."""
    console = Console()
    for device in ("cpu", "cuda"):
        if device in figures:
            found = figures[device]
            table = Table("", *SIDES, "ratio", title=f"{device}: seconds, one thread")
            frame = f"frame_{RATIO_SIZE}"
            for title, name in ((f"training step, {found['rays']} rays", "step"), (f"frame, {RATIO_SIZE} px", frame)):
                row = [f"{found[f'{name}_s'][side]:g}" for side in SIDES]
                table.add_row(title, *row, f"{found[f'{name}_ratio']:g}")
            table.add_row(
                "field evaluations a pixel", *(f"{found['evaluations_a_pixel'][side]:g}" for side in SIDES), ""
            )
            for size, rate in found["frames_per_second"].items():
                table.add_row(f"frames a second, {size} px", f"{rate:g}", "", "")
            console.print(table)
    for title, name in (
        ("preprocessing, CPU s a minute of footage", "preprocess_cpu_s_per_minute"),
        ("peak memory, MB", "peak_memory_mb"),
    ):
        if name in figures:
            table = Table(title, "")
            for row, value in figures[name].items():
                table.add_row(row, f"{value:g}")
            console.print(table)


if __name__ == "__main__":
    main()
