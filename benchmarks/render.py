"""Measures the cost of a frame of a finished run: `python -m benchmarks.render RUN [--frames N] [--size PX] [--json FILE]`.

Two tables: a portrait, and, if the run has its footage, a full frame part by part. Times are CPU seconds; those of decoding and
encoding include ffmpeg's processes. Parts are timed one after the other, with one thread, so that their ratios are valid on a busy machine
too. Frames a second are those of the whole command, from the sound to the file; the limit is the number of cores divided by the CPU
seconds of all parts. Set OMP_WAIT_POLICY=PASSIVE, as the command does: spinning threads would count as work.

`--memory S` renders one video of S seconds instead, and shows the memory at each tenth of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.fields.head_field import HeadField
from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import FrameRenderer, render_frame
from adnerf_core.synthesis import full_frame
from adnerf_core.synthesis.compositing import Grain
from adnerf_core.synthesis.full_frame import MIN_SHARE, FullFrameRenderer
from adnerf_core.synthesis.lip_region import LipRegion
from adnerf_core.synthesis.render import RenderOptions, render
from adnerf_core.synthesis.speech_codes import silent_codes, speech_codes
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.watermark.embed import WatermarkEmbedder
from adnerf_core.watermark.spread_spectrum import PUBLIC_KEY, Watermark
from benchmarks.pieces import counting

PARTS = {
    "outline": [(LipRegion, "mask")],
    "region": [(FullFrameRenderer, "render_region")],
    "proposal rays": [(FrameRenderer, "__init__")],
    "torso rays": [(FrameRenderer, "_render_torso")],
    "head rays": [(FrameRenderer, "_render_head")],
    "colour correction": [(full_frame, "edge_correction"), (full_frame, "footage_in_front")],
    "grain": [(Grain, "__call__")],
    "blend": [(FullFrameRenderer, "blend_into")],
}
"""The functions of each part of rendering; a part does not count the others that it calls."""
HEARD_S = 20.0
"""Length of the sound that is heard, s."""
SPOKEN_S = 4.0
"""Length of the video whose frames a second are measured, s: starting ffmpeg and loading the subject then take a small part."""


def main() -> None:
    """Parses the command line, measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--frames", type=int, default=16, help="frames to time (default: %(default)s)")
    parser.add_argument("--size", type=int, help="longest edge of the full frames, px (default: the footage's)")
    parser.add_argument(
        "--memory", type=float, metavar="S", help="instead: memory while a video of S seconds is rendered"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    subject = load_subject(RunDir(args.run))
    if args.memory:
        figures = {"memory": memory_over_time(RunDir(args.run), subject, args.size, args.memory)}
    else:
        figures = {"portrait": measure(subject, args.frames)}
        if subject.playback is not None:
            figures["full"] = measure_full(subject, args.frames, args.size)
            figures["full"] |= frames_a_second(RunDir(args.run), subject, args.size, figures["full"]["cpu_s"])
    for name, values in figures.items():
        table = Table(name, "value")
        for key, value in values.items():
            table.add_row(key, f"{value:g}" if isinstance(value, int | float) else str(value))
        Console().print(table)
    print(json.dumps(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


@torch.no_grad()
def measure(subject: Subject, count: int) -> dict[str, float]:
    """Measures `count` frames of a subject's portrait.

    Returns:
        CPU seconds per frame, whole and of the torso field; field evaluations per pixel; peak memory of the process, MB.
    """
    model, size = subject.model, subject.size
    pixels, background = model.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    frame_s, torso_s, evaluations = [], [], []
    for frame_index in spread_frames(subject, count):
        at = slice(frame_index, frame_index + 1)
        code = torch.zeros(1, model.lip_code)
        frame = FrameConditions(subject.poses[at], subject.torso[at], subject.upper[at], code)
        render_pixels = partial(render_frame, model, frame, pixels, background)
        frame_s.append(cpu_seconds(render_pixels))
        with counting(model) as counts:
            render_pixels()
        evaluations.append(sum(counts) / size**2)
        condition = frame.torso_motion.expand(len(pixels), -1), model.torso_condition(frame).expand(len(pixels), -1)
        torso_s.append(cpu_seconds(partial(model.render_torso, pixels, *condition)))
    return {
        "size_px": size,
        "frame_cpu_s": round(statistics.median(frame_s), 4),
        "torso_cpu_s": round(statistics.median(torso_s), 4),
        "field_evaluations_a_pixel": round(statistics.median(evaluations), 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def measure_full(subject: Subject, count: int, size: int | None) -> dict[str, float]:
    """Measures the parts of a full frame.

    Returns:
        Size; pixels of the region, and field evaluations for them; CPU seconds per frame of each part (`decode_cpu_s` and so on) and of
        all, `cpu_s`.
    """
    renderer = FullFrameRenderer(subject, size)
    pictures: list[yuv.Picture] = []
    parts = {"hear": _hearing(subject), "decode": _decoding(renderer, pictures)}
    codes = torch.randn(count, subject.model.lip_code, generator=torch.Generator().manual_seed(0))
    frames = list(spread_frames(subject, count))
    with counting(subject.model, (HeadField,)) as points, self_times(PARTS) as times:
        for k, (frame, code) in enumerate(zip(frames, codes, strict=True)):
            renderer.render_into(pictures[k % len(pictures)], frame, code, k)
    parts |= {name: seconds / count for name, seconds in times.items()}
    pixels = [int((renderer.region.mask(subject.poses[frame]).share > MIN_SHARE).sum()) for frame in frames]
    marker = WatermarkEmbedder(1, PUBLIC_KEY, renderer.height, renderer.width)
    parts["mark"] = cpu_seconds(lambda: [None for _ in marker.over(pictures)]) / len(pictures)
    with tempfile.TemporaryDirectory() as folder:
        encode = partial(ffmpeg.write_video, Path(folder) / "out.mp4", pictures)
        parts["encode"] = cpu_seconds(encode) / len(pictures)
    return {
        "width_px": renderer.width,
        "height_px": renderer.height,
        "pixels": round(statistics.mean(pixels)),
        "evaluations_a_pixel": round(sum(points) / sum(pixels), 2),
        **{f"{name.replace(' ', '_')}_cpu_s": round(seconds, 4) for name, seconds in parts.items()},
        "cpu_s": round(sum(parts.values()), 4),
    }


def _hearing(subject: Subject) -> float:
    """Returns the CPU seconds that the speech codes of a frame take; the recogniser is loaded before."""
    silent_codes(subject, 1.0)
    with tempfile.TemporaryDirectory() as folder:
        sound = write_sound(Path(folder) / "say.wav", HEARD_S)
        hear = partial(speech_codes, subject, sound, sound.with_suffix(".s16"))
        return cpu_seconds(lambda: list(hear())) / (HEARD_S * FPS)


def write_sound(path: Path, seconds: float) -> Path:
    """Writes noise of `seconds` as a WAV; returns its path."""
    noise = np.random.default_rng(0).normal(0, 0.05, round(seconds * SAMPLE_RATE))
    ffmpeg.write_wav(path, noise.astype(np.float32))
    return path


def _decoding(renderer: FullFrameRenderer, pictures: list[yuv.Picture]) -> float:
    """Decodes two seconds of footage into `pictures`; returns the CPU seconds that a frame takes."""
    play = renderer.playback
    reader, count = (
        FootageReader(play.path, play.width, play.height, len(play.trusted)),
        min(2 * FPS, len(play.trusted)),
    )
    size = (renderer.width, renderer.height)
    scaled = None if size == (play.width, play.height) else size
    return cpu_seconds(lambda: pictures.extend(p for _, p in reader.read(range(count), scaled, planar=True))) / count


@contextmanager
def self_times(parts: Mapping[str, Sequence[tuple[Any, str]]]) -> Iterator[dict[str, float]]:
    """Yields the CPU seconds that each part takes inside the block, in this thread, without the parts that it calls.

    Args:
        parts: the functions of each part: their owners and names.
    """
    times, inner = dict.fromkeys(parts, 0.0), [0.0]

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **more: Any) -> Any:
            start = time.thread_time()
            inner.append(0.0)
            try:
                return function(*args, **more)
            finally:
                spent = time.thread_time() - start
                times[part] += spent - inner.pop()
                inner[-1] += spent

        return call

    with ExitStack() as stack:
        for part, functions in parts.items():
            for owner, name in functions:
                stack.enter_context(patch.object(owner, name, timed(part, getattr(owner, name))))
        yield times


def frames_a_second(run: RunDir, subject: Subject, size: int | None, cpu_s: float) -> dict[str, float]:
    """Renders marked videos from sound to file, on one core and on all that this process may use.

    Returns:
        For each number of cores, frames per second of wall time, and the limit: that many cores divided by `cpu_s`; the load before.
    """
    figures: dict[str, float] = {"load": round(os.getloadavg()[0], 1)}
    options, cores = RenderOptions(frame="full", size=size), sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        sound, out = write_sound(Path(folder) / "say.wav", SPOKEN_S), Path(folder) / "out.mp4"
        for used in sorted({1, len(cores)}):
            os.sched_setaffinity(0, cores[:used])  # of this thread, and of the threads and processes that it starts
            start = time.perf_counter()
            done = render(run, sound, out, options, load=lambda *_: subject, mark=Watermark(1, PUBLIC_KEY))
            figures[f"frames_a_second_{used}"] = round(done.frames / (time.perf_counter() - start), 1)
            figures[f"limit_{used}"] = round(used / cpu_s, 1)
        os.sched_setaffinity(0, cores)
    return figures


def memory_over_time(run: RunDir, subject: Subject, size: int | None, seconds: float) -> dict[str, Any]:
    """Renders a marked video of `seconds` of sound, and measures the memory of this process and its children while it is rendered.

    Returns:
        Frames of the video and their number per second; resident memory, MB, at each tenth of the video: of this process, and of the
        ffmpeg processes.
    """
    rss: list[tuple[int, int]] = []

    def look(_: str, done: float, total: float) -> None:
        if done >= total * (len(rss) + 1) / 10:
            process = psutil.Process()
            children = sum(child.memory_info().rss for child in process.children())
            rss.append((process.memory_info().rss >> 20, children >> 20))

    with tempfile.TemporaryDirectory() as folder:
        sound, out = write_sound(Path(folder) / "say.wav", seconds), Path(folder) / "out.mp4"
        start, options = time.perf_counter(), RenderOptions(frame="full", size=size)
        done = render(run, sound, out, options, look, load=lambda *_: subject, mark=Watermark(1, PUBLIC_KEY))
    speed = round(done.frames / (time.perf_counter() - start), 1)
    own, children = zip(*rss, strict=True)
    return {"frames": done.frames, "frames_a_second": speed, "rss_mb": own, "ffmpeg_rss_mb": children}


def spread_frames(subject: Subject, count: int) -> Iterable[int]:
    """Returns `count` frames that are spread over the track."""
    return (k * len(subject.poses) // count for k in range(count))


def cpu_seconds(work: Callable[[], object]) -> float:
    """Runs `work` and returns the CPU time that it and its child processes take."""
    start = _cpu_time()
    work()
    return _cpu_time() - start


def _cpu_time() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


if __name__ == "__main__":
    main()
