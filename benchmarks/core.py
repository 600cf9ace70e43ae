"""Measures the cost of the core: `python -m benchmarks.core [--run RUN] [--video VIDEO] [--json FILE]`.

Compares training steps and frames of the fast fields with those of the paper's networks, in alternation in one process, so that
the ratios are valid on a busy machine too. Also measures frames at several sizes, preprocessing by stage, and peak memory (each
in a process of its own).

Times are CPU seconds of one thread. The time of one of the paper's frames is estimated from a share of its pixels, because a whole
frame takes minutes. Without --run, a subject is made first: the demo's synthetic speaker, preprocessed and trained briefly. With a
CUDA device, steps and frames are measured on it as well (this part has not been run on a device yet).
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
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
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
from benchmarks.pieces import Clock, Comparison, Frames, Steps, evaluations

SIDES = ("fast", "paper")
"""The two sides of the comparison: the fast fields, and the paper's networks."""
RATIO_SIZE = 128
"""Edge of the frames that are compared, px: the size of preset `draft`."""
FAST_FRAMES = 4
"""Frames per measurement of the fast fields; one frame takes too little time for the resolution of the clock."""
SPEAKER_SECONDS, SPEAKER_STEPS = 12.0, 400
"""Length of the synthetic footage, s (preprocessing needs 8 s of usable footage), and training steps of the head on it."""
MEMORY = ("step fast", "step paper", "frame fast", "frame paper", "preprocess")
"""The tasks whose peak memory is measured, one process for each."""


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Parses the command line, measures, and prints the figures; returns them."""
    args = make_parser().parse_args(arguments)
    torch.set_num_threads(1)
    with TemporaryDirectory(prefix="benchmark-") as folder:
        work = Path(folder)
        if args.piece:
            figures = measure_memory(args, work)
            print(json.dumps(figures))
            return figures
        args.video = args.video or (None if args.run and "preprocess" in args.skip else make_speaker(work))
        args.run = args.run or make_run(args.video, work)
        figures = {"machine": machine(), "run": describe(args.run)} | measure(args, work)
    show(figures)
    print(json.dumps(figures))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.core", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, help="a finished run of the fast fields; its dataset must still be there")
    parser.add_argument("--video", type=Path, help="footage to preprocess (default: the synthetic speaker)")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the figures to this file, such as benchmarks/results/..."
    )
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each side (default: %(default)s)")
    parser.add_argument("--rays", type=int, default=1024, help="rays per training step (default: %(default)s)")
    parser.add_argument(
        "--share",
        type=float,
        default=1 / 64,
        help="share of a frame's pixels that the paper's networks render (default: 1/64)",
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256, 512], help="edges of the frames, px")
    parser.add_argument(
        "--paper-width",
        type=int,
        default=256,
        help="width of the paper's networks (default, as published: %(default)s)",
    )
    parser.add_argument(
        "--skip", nargs="+", choices=("contest", "preprocess", "memory"), default=[], help="parts to leave out"
    )
    parser.add_argument("--piece", choices=MEMORY, help=argparse.SUPPRESS)
    return parser


def measure(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Measures all parts that are not skipped; compares the two sides on CUDA too, if there is a device."""
    figures: dict[str, Any] = {}
    if "contest" not in args.skip:
        for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            figures[device] = compare(args, device)
    if "preprocess" not in args.skip:
        figures["preprocess_cpu_s_per_minute"] = stages(args.video, work / "measured")
    if "memory" not in args.skip:
        tasks = [name for name in MEMORY if name not in args.skip]
        figures["peak_memory_mb"] = {name: run_in_child(args, name)["peak_memory_mb"] for name in tasks}
    return figures


def compare(args: argparse.Namespace, device: str) -> dict[str, Any]:
    """Measures steps and frames of both sides in alternation, and frames of the fast side at all sizes.

    Returns:
        Seconds, as medians over the rounds, and the values that are derived from them.
    """
    comparison, clock = Comparison(RunDir(args.run), device, args.rays, args.paper_width), Clock(device)
    steps = {side: comparison.steps(side) for side in SIDES}
    frames = {
        "fast": comparison.frames("fast", RATIO_SIZE),
        "paper": comparison.frames("paper", RATIO_SIZE, args.share),
    }
    sizes = {size: comparison.frames("fast", size) for size in args.sizes}
    # The fast fields take as many steps as there are between two updates of the density grid, so that one update is included.
    repeats = {"fast": (grid_update_interval(args.rays), FAST_FRAMES), "paper": (1, 1)}
    for work in (steps["fast"], frames["fast"], *sizes.values()):  # the first call of each also allocates memory
        work()
    samples: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for side in SIDES:
            step_count, frame_count = repeats[side]
            step_s = clock(lambda: repeat(steps[side], step_count)) / step_count  # noqa: B023
            frame_s = clock(lambda: repeat(frames[side], frame_count)) / frame_count  # noqa: B023
            samples.setdefault(f"step {side}", []).append(step_s)
            samples.setdefault(f"frame {side}", []).append(frame_s * frames[side].frame_factor)
        for size, frame in sizes.items():
            samples.setdefault(f"size {size}", []).append(clock(frame))
    return _comparison_figures(args, device, steps, frames, samples)


def _comparison_figures(
    args: argparse.Namespace,
    device: str,
    steps: Mapping[str, Steps],
    frames: Mapping[str, Frames],
    samples: Mapping[str, list[float]],
) -> dict[str, Any]:
    middle = {name: statistics.median(values) for name, values in samples.items()}
    works = {f"step {side}": steps[side] for side in SIDES} | {f"frame {side}": frames[side] for side in SIDES}
    peaks = {name: device_memory(work) for name, work in works.items()} if device == "cuda" else {}
    return {
        "rays": args.rays,
        "step_s": {side: digits(middle[f"step {side}"]) for side in SIDES},
        "step_ratio": digits(middle["step paper"] / middle["step fast"]),
        f"frame_{RATIO_SIZE}_s": {side: digits(middle[f"frame {side}"]) for side in SIDES},
        f"frame_{RATIO_SIZE}_ratio": digits(middle["frame paper"] / middle["frame fast"]),
        "paper_frame_estimated_from_share": digits(1 / frames["paper"].frame_factor),
        "evaluations_a_pixel": {side: digits(evaluations(frames[side], args.rounds)) for side in SIDES},
        "frames_per_second": {str(size): digits(1 / middle[f"size {size}"]) for size in args.sizes},
        **({"peak_device_memory_mb": peaks} if peaks else {}),
        "rounds": {name: [digits(value) for value in values] for name, values in samples.items()},
    }


def device_memory(work: Callable[[], object]) -> int:
    """Returns the peak memory of the CUDA device during `work`, MB; it includes the weights and data of both sides."""
    torch.cuda.reset_peak_memory_stats()
    work()
    return torch.cuda.max_memory_allocated() >> 20


def repeat(work: Callable[[], object], times: int) -> None:
    """Calls `work` `times` times."""
    for _ in range(times):
        work()


class StageClock:
    """A Progress that adds up the CPU time of each stage, with that of child processes that have ended (ffmpeg)."""

    def __init__(self, now: Callable[[], float] = lambda: sum(os.times()[:4])):
        self.now, self.last = now, now()
        self.seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: float, total: float) -> None:
        time_now = self.now()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time_now - self.last
        self.last = time_now


def stages(video: Path, out: Path) -> dict[str, float]:
    """Preprocesses `video`; returns CPU seconds per minute of footage, by stage and in total."""
    clock = StageClock()
    dataset = preprocess(video, out, progress=clock)
    minutes = dataset.frames / FPS / 60
    figures = {stage: digits(seconds / minutes) for stage, seconds in clock.seconds.items()}
    return figures | {"total": digits(sum(clock.seconds.values()) / minutes)}


def run_in_child(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """Runs the task `name` of MEMORY in a child process, so that its peak memory can be measured; returns its figures."""
    options = ["--run", args.run, "--rays", args.rays, "--paper-width", args.paper_width, "--share", args.share]
    options += ["--video", args.video] if args.video else []
    command = [sys.executable, "-m", "benchmarks.core", "--piece", name, *map(str, options)]
    child = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(child.stdout.splitlines()[-1])


def measure_memory(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Runs one task of MEMORY in this process and returns the process's peak memory."""
    if args.piece == "preprocess":
        preprocess(args.video, work / "dataset")
    else:
        task, side = args.piece.split()
        comparison = Comparison(RunDir(args.run), "cpu", args.rays, args.paper_width)
        share = 1.0 if side == "fast" else args.share
        (comparison.steps(side) if task == "step" else comparison.frames(side, RATIO_SIZE, share))()
    return {"peak_memory_mb": peak_memory_mb()}


def peak_memory_mb() -> int:
    """Returns the peak memory of this process. On Linux ru_maxrss is too large: a child inherits the value of its parent."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text())[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make_speaker(work: Path) -> Path:
    """Makes footage for a run without --video: the demo's synthetic speaker."""
    from demo.scene import Scene
    from demo.speaker import make_speaker as draw

    draw(work / "speaker.mp4", scene=Scene(256, 256), seconds=SPEAKER_SECONDS)
    return work / "speaker.mp4"


def make_run(video: Path, work: Path) -> Path:
    """Makes a subject of `video`, trained just long enough for a density that is concentrated in the head."""
    dataset = preprocess(video, work / "dataset")
    config = PRESETS["draft"].model_copy(update={"audio_steps": 50, "head_steps": SPEAKER_STEPS, "torso_steps": 50})
    return train(dataset, RunDir(work / "run"), config).root


def describe(run: Path) -> dict[str, Any]:
    """Returns the properties of the measured subject."""
    config, dataset = read_json(RunDir(run).manifest)["config"], SubjectDataset(RunDir(run).dataset)
    return {
        "source": dataset.manifest["source"]["name"],
        "preset": config["preset"],
        "size_px": config["size"],
        "frames": dataset.frames,
    }


def machine() -> dict[str, Any]:
    """Returns the time, the machine and the versions of the measurement."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
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
    """Rounds to three significant digits."""
    return float(f"{value:.3g}")


def show(figures: dict[str, Any]) -> None:
    """Prints the figures as tables."""
    console = Console()
    for device in ("cpu", "cuda"):
        if device in figures:
            results = figures[device]
            table = Table("", *SIDES, "ratio", title=f"{device}: seconds, one thread")
            frame = f"frame_{RATIO_SIZE}"
            for title, name in ((f"training step, {results['rays']} rays", "step"), (f"frame, {RATIO_SIZE} px", frame)):
                row = [f"{results[f'{name}_s'][side]:g}" for side in SIDES]
                table.add_row(title, *row, f"{results[f'{name}_ratio']:g}")
            table.add_row(
                "field evaluations a pixel", *(f"{results['evaluations_a_pixel'][side]:g}" for side in SIDES), ""
            )
            for size, rate in results["frames_per_second"].items():
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
