"""What a frame of a finished run costs: `python -m benchmarks.render RUN [--frames N] [--json FILE]`.

CPU seconds of one thread, medians over frames spread along the pose track; the parts are timed one after the other on the same
frames, so that their ratios hold on a busy machine too.
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
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished run")
    parser.add_argument("--frames", type=int, default=16, help="frames to time (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    figures = measure(load_subject(RunDir(given.run)), given.frames)
    table = Table("figure", "value")
    for name, value in figures.items():
        table.add_row(name, f"{value:g}")
    Console().print(table)
    print(json.dumps(figures))
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


@torch.no_grad()
def measure(subject: Subject, count: int) -> dict[str, float]:
    """CPU seconds a frame, whole and by field; field evaluations a pixel; peak memory of the process, MB."""
    model, size = subject.model, subject.size
    pixels, background = model.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    whole, torso, evaluations = [], [], []
    for place in (k * len(subject.poses) // count for k in range(count)):
        at = slice(place, place + 1)
        code = torch.zeros(1, model.lip_code)
        frame = FrameConditions(subject.poses[at], subject.torso[at], subject.upper[at], code)
        render = partial(render_frame, model, frame, pixels, background)
        whole.append(cpu_seconds(render))
        with counting(model) as counts:
            render()
        evaluations.append(sum(counts) / size**2)
        condition = frame.torso_motion.expand(len(pixels), -1), model.torso_condition(frame).expand(len(pixels), -1)
        torso.append(cpu_seconds(partial(model.render_torso, pixels, *condition)))
    return {
        "size_px": size,
        "frame_cpu_s": round(statistics.median(whole), 4),
        "torso_cpu_s": round(statistics.median(torso), 4),
        "field_evaluations_a_pixel": round(statistics.median(evaluations), 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time that `work` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
