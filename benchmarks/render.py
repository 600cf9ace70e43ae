"""Measures the cost of a frame of a finished run: `python -m benchmarks.render RUN [--frames N] [--size PX] [--json FILE]`.

Two tables: a portrait, and, if the run has its footage, a full frame stage by stage. Times are CPU seconds; those of decoding and
encoding include ffmpeg's processes. Stages are timed one after the other, with one thread, so that their ratios are valid on a busy machine
too. Frames a second are those of the whole command, from the sound to the file; the limit is the number of cores divided by the CPU
seconds of all stages. Set OMP_WAIT_POLICY=PASSIVE, as the command does: spinning threads would count as work.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from adnerf_core.config import FPS
from adnerf_core.files import ffmpeg, yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.synthesis.full_frame import MIN_SHARE, FullFrameRenderer
from adnerf_core.synthesis.render import RenderOptions, render
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.watermark.embed import WatermarkEmbedder
from adnerf_core.watermark.spread_spectrum import PUBLIC_KEY, Watermark
from benchmarks.pieces import counting

SPOKEN_S = 4.0
"""Length of the video whose frames a second are measured, s: starting ffmpeg and loading the subject then take a small part."""


def main() -> None:
    """Parses the command line, measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--frames", type=int, default=16, help="frames to time (default: %(default)s)")
    parser.add_argument("--size", type=int, help="longest edge of the full frames, px (default: the footage's)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    subject = load_subject(RunDir(args.run))
    figures = {"portrait": measure(subject, args.frames)}
    if subject.playback is not None:
        figures["full"] = measure_full(subject, args.frames, args.size)
        figures["full"] |= frames_a_second(RunDir(args.run), subject, args.size, figures["full"]["cpu_s"])
    for name, values in figures.items():
        table = Table(name, "value")
        for key, value in values.items():
            table.add_row(key, f"{value:g}")
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
    """Measures the stages of a full frame.

    Returns:
        Size, rays and field evaluations per ray, and CPU seconds per frame: of each stage (`decode_cpu_s` and so on) and of all, `cpu_s`.
    """
    play, renderer = subject.playback, FullFrameRenderer(subject, size)
    code, stages = torch.zeros(subject.model.lip_code), {}
    reader = FootageReader(play.path, play.width, play.height, len(play.trusted))
    scaled = (
        None if (renderer.width, renderer.height) == (play.width, play.height) else (renderer.width, renderer.height)
    )
    pictures: list[yuv.Picture] = []

    def decode() -> None:
        pictures.extend(
            picture for _, picture in reader.read(range(min(2 * FPS, len(play.trusted))), scaled, planar=True)
        )

    stages["decode"] = cpu_seconds(decode) / min(2 * FPS, len(play.trusted))
    region_s, blend_s, rays, evaluations = [], [], [], []
    for k, frame in enumerate(spread_frames(subject, count)):
        mask = renderer.region.mask(subject.poses[frame])
        region_s.append(cpu_seconds(partial(renderer.render_region, mask, frame, code)))
        with counting(subject.model) as counts:
            rendered = renderer.render_region(mask, frame, code)
        blend_s.append(cpu_seconds(partial(renderer.blend_into, pictures[k % len(pictures)], mask, rendered, k)))
        rays.append(int((mask.share > MIN_SHARE).sum()))
        evaluations.append(sum(counts) / rays[-1])
    stages["render"], stages["blend"] = statistics.median(region_s), statistics.median(blend_s)
    marker = WatermarkEmbedder(1, PUBLIC_KEY, renderer.height, renderer.width)
    stages["mark"] = cpu_seconds(lambda: [None for _ in marker.over(pictures)]) / len(pictures)
    with tempfile.TemporaryDirectory() as folder:
        encode = partial(ffmpeg.write_video, Path(folder) / "out.mp4", pictures)
        stages["encode"] = cpu_seconds(encode) / len(pictures)
    return {
        "width_px": renderer.width,
        "height_px": renderer.height,
        "rays": round(statistics.median(rays)),
        "evaluations_a_ray": round(statistics.median(evaluations), 2),
        **{f"{name}_cpu_s": round(seconds, 4) for name, seconds in stages.items()},
        "cpu_s": round(sum(stages.values()), 4),
    }


def frames_a_second(run: RunDir, subject: Subject, size: int | None, cpu_s: float) -> dict[str, float]:
    """Renders marked videos from sound to file, with one and with two threads.

    Returns:
        For each number of threads, frames per second of wall time, and the limit: that many cores divided by `cpu_s`; the load before.
    """
    figures: dict[str, float] = {"load": round(os.getloadavg()[0], 1)}
    options = RenderOptions(frame="full", size=size)
    with tempfile.TemporaryDirectory() as folder:
        sound, out = Path(folder) / "say.wav", Path(folder) / "out.mp4"
        noise = np.random.default_rng(0).normal(0, 0.05, round(SPOKEN_S * 16000))
        ffmpeg.write_wav(sound, noise.astype(np.float32))
        for threads in (1, 2):
            torch.set_num_threads(threads)
            start = time.perf_counter()
            done = render(run, sound, out, options, load=lambda *_: subject, mark=Watermark(1, PUBLIC_KEY))
            figures[f"frames_a_second_{threads}"] = round(done.frames / (time.perf_counter() - start), 1)
            figures[f"limit_{threads}"] = round(threads / cpu_s, 1)
    torch.set_num_threads(1)
    return figures


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
