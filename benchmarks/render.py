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
    portrait, size = subject.portrait, subject.size
    pixels, behind = portrait.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    whole, torso, evaluations = [], [], []
    for place in (k * len(subject.poses) // count for k in range(count)):
        pose, motion = subject.poses[place], subject.torso[place]
        code = torch.zeros(1, portrait.lip_code)
        condition = portrait.condition(code, subject.upper[place : place + 1])[0]
        frame = partial(portrait.paint, pose, motion, condition, behind, pixels)
        whole.append(cpu_seconds(frame))
        with counting(portrait) as counts:
            frame()
        evaluations.append(sum(counts) / size**2)
        steps = motion.expand(len(pixels), -1), portrait.standardized_pose(pose[None]).expand(len(pixels), -1)
        torso.append(cpu_seconds(partial(portrait.render_torso, pixels, *steps)))
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
