"""Measures a machine with an NVIDIA GPU in ten minutes: `python -m benchmarks.gpu [--video VIDEO] [--seconds 600]`.

On a rented machine with a driver, from a clone: `make env test-env && .venv/bin/python -m benchmarks.gpu --video VIDEO`. The parts, each in
a process of its own with a share of the time: the tests on the real device, preprocessing and a short training, single steps without and
with CUDA graphs, training with the preset `standard`, frames a second of portraits of 256 and 512 px and of full frames of 720p, sessions
at once, encoding by the GPU, and the paper's networks. A part that fails or takes too long leaves its error in the figures, and the others go
on; the file is written after each. `--device cpu --seconds 900` is a dry run with a small subject, which says nothing about a GPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing.context import ForkServerContext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from adnerf_core.config import FPS, PRESETS, RenderOptions
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.files import ffmpeg
from adnerf_core.files.run_dir import RunDir, write_json
from adnerf_core.files.video_formats import MP4
from adnerf_core.preprocess.pipeline import preprocess
from adnerf_core.progress import Cancelled, silent
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.render import render
from adnerf_core.synthesis.subject import load_subject
from adnerf_core.training.train import train, with_size
from benchmarks.core import StageClock, digits, machine, make_speaker
from benchmarks.pieces import Comparison, Excerpt, Frames, Steps

RESULTS = Path(__file__).parent / "results" / "gpu.json"
SHORT_STEPS = 300
"""Steps of each field in the short training, whose subject is rendered if the full one does not end in time."""
STEPS_TO_START = 20
"""Steps that do not count: in them, graphs of every kind of the head's first steps are captured."""
PROFILED_STEPS = 40
"""Steps that torch's profiler watches: ten of those that count the roughness of the planes."""
DRY = {"size": 64, "audio_steps": 10, "head_steps": 20, "torso_steps": 20}
"""Changes of that training in a dry run."""
SESSIONS = (1, 4, 8, 16, 20)
"""Numbers of sessions that render at once."""
FULL_PX = 1280
"""Longest edge of the full frames, px: 720p."""
GRACE_S = 20
"""Time that a part may take beyond its own, s, for starting and for its last piece of work; then it is ended."""


@dataclass(frozen=True)
class Job:
    """What a part of the measurement gets.

    device: "cuda", or "cpu" for a dry run.
    seconds: its time.
    work: folder of this measurement; `dataset`, `short` and `standard` are in it.
    video: footage of the subject.
    run: a finished run to use instead of preprocessing and training one.
    preset: of the training that is timed.
    """

    device: str
    seconds: float
    work: Path
    video: Path | None
    run: Path | None
    preset: str

    def finished_run(self) -> RunDir:
        """Returns the best finished run that there is."""
        runs = [self.run] if self.run else [self.work / "standard", self.work / "short"]
        done = [RunDir(run) for run in runs if RunDir(run).done]
        if not done:
            raise RuntimeError("no training has ended, so there is nothing to render")
        return done[0]

    def dataset(self) -> SubjectDataset:
        """Returns the preprocessed footage."""
        return SubjectDataset(RunDir(self.run).dataset if self.run else self.work / "dataset")


class Meter:
    """Counts what is done in a time; the first pieces, which also load and allocate, do not count."""

    def __init__(self, job: Job, seconds: float):
        self.cuda, self.seconds, self.done = job.device == "cuda", seconds, 0

    def rate(self, pieces: Iterator[object], warm_up: int = 2) -> float:
        """Returns the pieces a second that the iterator yields until the time is over or it ends."""
        for _ in zip(range(warm_up), pieces, strict=False):
            pass
        start = self._now()
        for _ in pieces:
            self.done += 1
            if time.perf_counter() - start > self.seconds:
                break
        return digits(self.done / max(self._now() - start, 1e-9))

    def _now(self) -> float:
        if self.cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


def peak_memory(job: Job) -> dict[str, int]:
    """Returns the peak memory on the device so far; nothing on a CPU."""
    return {"peak_device_mb": torch.cuda.max_memory_allocated() >> 20} if job.device == "cuda" else {}


def device_tests(job: Job) -> dict[str, Any]:
    """Runs the tests of CUDA; on a GPU on the real device."""
    environment = os.environ | ({"ADNERF_TEST_CUDA": "real"} if job.device == "cuda" else {})
    files = [f"tests/adnerf_core/{name}.py" for name in ("rendering/test_ray_kernels", "test_cuda", "test_cuda_graphs")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    root = Path(__file__).parents[1]
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=job.seconds)
    return {"passed": ran.returncode == 0, "summary": ran.stdout.splitlines()[-12:]}


def prepare(job: Job) -> dict[str, Any]:
    """Preprocesses the footage, and trains a subject shortly."""
    if job.run:
        return {"given": job.run.name}
    clock, start = StageClock(time.perf_counter), time.perf_counter()
    dataset = preprocess(job.video or make_speaker(job.work), job.work / "dataset", progress=clock)
    figures = {"frames": dataset.frames, "preprocess_s": digits(time.perf_counter() - start), "stages_s": clock.seconds}
    steps = {"head_steps": SHORT_STEPS, "torso_steps": SHORT_STEPS}
    config = PRESETS["draft"].model_copy(update={"device": job.device} | (steps if job.device == "cuda" else DRY))
    start = time.perf_counter()
    train(dataset, RunDir(job.work / "short"), config)
    return figures | {"short_training_s": digits(time.perf_counter() - start)}


def single_steps(job: Job) -> dict[str, Any]:
    """Takes steps of the head phase, without and with CUDA graphs, and measures which share of the time the device computes."""
    figures: dict[str, Any] = {}
    excerpt = Excerpt(job.dataset().root)
    for graphs in (False, True) if job.device == "cuda" else (False,):
        config = PRESETS[job.preset].model_copy(update={"device": job.device, "cuda_graphs": graphs})
        one = Steps(excerpt, with_size(config, excerpt))
        rate = Meter(job, job.seconds / 5).rate((one() for _ in count()), STEPS_TO_START)
        figures["graphs" if graphs else "plain"] = {"steps_a_second": rate} | device_time(job, one, rate)
    return figures


def device_time(job: Job, one: Callable[[], None], rate: float) -> dict[str, float]:
    """Returns the time, ms, for which the device computes a step, and its share of the whole step; nothing on a CPU.

    torch's profiler slows the host down, so the share is that of the steps that were timed without it.
    """
    if job.device != "cuda":
        return {}
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(PROFILED_STEPS):
            one()
        torch.cuda.synchronize()
    busy_s = sum(event.self_device_time_total for event in profiled.key_averages()) / PROFILED_STEPS / 1e6
    return {"device_ms": digits(busy_s * 1e3), "device_busy": digits(busy_s * rate)}


def training(job: Job) -> dict[str, Any]:
    """Trains with the preset, as far as the time allows."""
    clock, start = StageClock(time.perf_counter), time.perf_counter()
    steps: dict[str, list[float]] = {}

    def progress(stage: str, done: float, total: float) -> None:
        clock(stage, done, total)
        steps[stage] = [done, total]
        if time.perf_counter() - start > job.seconds:
            raise Cancelled

    run, config = RunDir(job.work / "standard"), PRESETS[job.preset].model_copy(update={"device": job.device})
    with suppress(Cancelled):
        train(job.dataset(), run, config, progress)
    return {
        "preset": job.preset,
        "finished": run.done,
        "seconds": digits(time.perf_counter() - start),
        "stages_s": {stage: digits(seconds) for stage, seconds in clock.seconds.items()},
        "steps": steps,
        **peak_memory(job),
    }


def portraits(job: Job) -> dict[str, Any]:
    """Renders portraits."""
    subject, features = load_subject(job.finished_run(), job.device), torch.from_numpy(job.dataset().features())
    figures: dict[str, Any] = {"trained_px": subject.size}
    for size in (256, 512):
        frames = Frames(subject, features, size)
        figures[f"frames_a_second_{size}"] = Meter(job, job.seconds / 2).rate(frames().cpu() for _ in count())
    return figures | peak_memory(job)


def full_frames(job: Job) -> dict[str, Any]:
    """Renders full frames, without and with ffmpeg's encoding."""
    figures, run = _session(job), job.finished_run()
    sound, out = job.work / "sound.wav", job.work / "out.mp4"
    seconds = max(0.4, min(10.0, job.seconds / 4 * figures["frames_a_second"] / FPS))
    ffmpeg.write_wav(sound, np.random.default_rng(0).normal(0, 0.05, round(16000 * seconds)).astype(np.float32))
    start = time.perf_counter()
    done = render(run, sound, out, RenderOptions(frame="full", size=FULL_PX), device=job.device)
    figures["video_frames_a_second"] = digits(done.frames / (time.perf_counter() - start))
    return figures | {"cores": os.cpu_count(), **peak_memory(job)}


def _session(job: Job) -> dict[str, Any]:
    """Renders full frames for half of the time, as a worker does."""
    subject = load_subject(job.finished_run(), job.device)
    renderer = FullFrameRenderer(subject, FULL_PX)
    codes = torch.randn(100_000, subject.model.lip_code, generator=torch.Generator().manual_seed(0)).to(job.device)
    rate = Meter(job, job.seconds / 2).rate(renderer.render(codes, "track", silent))
    return {"width_px": renderer.width, "height_px": renderer.height, "frames_a_second": rate}


def sessions(job: Job) -> dict[str, Any]:
    """Renders several videos at once, in a process each."""
    rates: dict[str, list[float]] = {}
    each, start = replace(job, seconds=job.seconds / len(SESSIONS)), time.perf_counter()
    for number in SESSIONS:
        if time.perf_counter() - start > job.seconds - each.seconds / 2:
            break
        running = [_Running(_session, each) for _ in range(number)]
        results = [one.result(each.seconds + GRACE_S) for one in running]
        rates[str(number)] = [result.get("frames_a_second", 0.0) for result in results]
    real_time = [int(number) for number, values in rates.items() if min(values) >= FPS]
    return {"frames_a_second": rates, "at_once_in_real_time": max(real_time, default=0)}


def encoding(job: Job) -> dict[str, Any]:
    """Encodes 720p on the CPU, and on the GPU if ffmpeg can."""
    picture = np.random.default_rng(0).integers(0, 255, (1080, FULL_PX), np.uint8)
    figures: dict[str, Any] = {"hardware": ffmpeg.hardware_encoder(MP4, FULL_PX, 720) is not None}
    for name in ("cpu", "gpu") if figures["hardware"] else ("cpu",):
        frames, start = max(10, round(10 * job.seconds)), time.perf_counter()
        ffmpeg.write_video(job.work / f"{name}.mp4", (picture for _ in range(frames)), hardware=name == "gpu")
        figures[f"{name}_frames_a_second"] = digits(frames / (time.perf_counter() - start))
    return figures


def paper(job: Job) -> dict[str, Any]:
    """Takes steps and renders pixels with the paper's networks."""
    published = PRESETS["paper"]
    rays, width, size = (published.rays, published.paper.width, 512) if job.device == "cuda" else (64, 16, 8)
    comparison = Comparison(job.finished_run(), job.device, rays, width)
    steps, frames = comparison.steps("paper"), comparison.frames("paper", size)
    rate = Meter(job, job.seconds / 2).rate((steps() for _ in count()), 1)
    picture = Meter(job, job.seconds / 4).rate((frames() for _ in count()), 0)
    hours = (published.head_steps + published.torso_steps) / rate / 3600
    return {"rays": rays, "steps_a_second": rate, "training_h": digits(hours), "frames_a_second": picture}


PARTS: dict[str, tuple[float, Callable[[Job], dict[str, Any]]]] = {
    "tests": (0.12, device_tests),
    "prepare": (0.18, prepare),
    "steps": (0.04, single_steps),
    "training": (0.35, training),
    "portraits": (0.06, portraits),
    "full_frames": (0.06, full_frames),
    "sessions": (0.08, sessions),
    "encoding": (0.03, encoding),
    "paper": (0.08, paper),
}
"""The parts in their order: share of the time, and function."""


def _context() -> ForkServerContext:
    """Processes start from one that has loaded torch and the core and never used CUDA, which does not survive a fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.core", "adnerf_core.synthesis.render"])
    return context


class _Running:
    """A part that runs in a process of its own."""

    def __init__(self, function: Callable[[Job], dict[str, Any]], job: Job):
        context = _context()
        self.pipe, end = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(function, job, end))
        self.process.start()
        end.close()

    def result(self, limit_s: float) -> dict[str, Any]:
        """Returns the figures, or `error` if it fails or takes more than `limit_s`."""
        try:
            if not self.pipe.poll(limit_s):
                return {"error": f"not finished within {limit_s:.0f} s"}
            return self.pipe.recv()
        except EOFError:
            return {"error": "the process has died"}
        finally:
            self.process.kill()
            self.process.join()


def _work(function: Callable[[Job], dict[str, Any]], job: Job, pipe: Any) -> None:
    try:
        pipe.send(function(job))
    except BaseException as error:
        pipe.send({"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc().splitlines()[-8:]})


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, and writes the figures; returns 0, or 2 without a device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="footage of a person (default: the demo's synthetic speaker)")
    parser.add_argument("--run", type=Path, help="a finished run to render, instead of preprocessing footage")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="standard", help="of the training (%(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: a dry run")
    parser.add_argument("--seconds", type=float, default=600.0, help="time for all parts (default: %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file of the figures (default: %(default)s)")
    args = parser.parse_args(arguments)
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "benchmarks.gpu needs a CUDA device, and torch finds none; --device cpu --seconds 900 is a dry run.",
            file=sys.stderr,
        )
        return 2
    figures: dict[str, Any] = {"machine": machine() | driver(), "device": args.device}
    shares = sum(PARTS[name][0] for name in args.parts)
    with TemporaryDirectory(prefix="gpu-") as folder:
        for name in args.parts:
            share, function = PARTS[name]
            job = Job(args.device, args.seconds * share / shares, Path(folder), args.video, args.run, args.preset)
            start = time.perf_counter()
            figures[name] = _Running(function, job).result(job.seconds + GRACE_S)
            figures[name]["took_s"] = round(time.perf_counter() - start, 1)
            print(name, json.dumps(figures[name]), flush=True)
            write_json(args.json, figures)
    return 0


def driver() -> dict[str, str]:
    """Returns what nvidia-smi says of the GPU; nothing where there is none."""
    fields = "name,memory.total,driver_version"
    try:
        ran = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(fields.split(","), re.split(", *", ran.stdout.split("\n")[0]), strict=False))


if __name__ == "__main__":
    sys.exit(main())
