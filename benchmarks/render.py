"""Measures the cost of a frame of a finished run: `python -m benchmarks.render RUN [--frames N] [--json FILE]`.

Times are CPU seconds of one thread, as medians over frames that are spread over the pose track. The parts are timed one after the
other on the same frames, so that their ratios are valid on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.synthesis.subject import Subject, load_subject
from benchmarks.pieces import counting


def main() -> None:
    """Parses the command line, measures, and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--frames", type=int, default=16, help="frames to time (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(load_subject(RunDir(args.run)), args.frames)
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:g}")
    Console().print(table)
    print(json.dumps(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


@torch.no_grad()
def measure(subject: Subject, count: int) -> dict[str, float]:
    """Measures `count` frames of a subject.

    Returns:
        CPU seconds per frame, whole and of the torso field; field evaluations per pixel; peak memory of the process, MB.
    """
    model, size = subject.model, subject.size
    pixels, background = model.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    frame_s, torso_s, evaluations = [], [], []
    for frame_index in (k * len(subject.poses) // count for k in range(count)):
        at = slice(frame_index, frame_index + 1)
        code = torch.zeros(1, model.lip_code)
        frame = FrameConditions(subject.poses[at], subject.torso[at], subject.upper[at], code)
        render = partial(render_frame, model, frame, pixels, background)
        frame_s.append(cpu_seconds(render))
        with counting(model) as counts:
            render()
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


def cpu_seconds(work: Callable[[], object]) -> float:
    """Runs `work` and returns the CPU time that it takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
