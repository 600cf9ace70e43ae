"""How well the invisible mark is found, and what it costs: `python -m benchmarks.mark [--footage VIDEO ...] [--json FILE]`.

Clips of ten seconds are cut out of footage (a synthetic speaker, and the videos given), each mirrored or not, lighter or darker,
with a number and a key of its own, as the part of a longer video that begins anywhere. They are written as the service writes
videos, attacked with ffmpeg, and searched. Unmarked videos are the footage itself, searched with many keys: a video and a key
that it was not marked with are an unmarked video to that key.

Equal seeds give equal clips. Figures are written after every window, so that a run may be cut short.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import resource
import subprocess
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table
from skimage.metrics import structural_similarity

from adnerf_core.files import ffmpeg
from adnerf_core.watermark import convolutional_code, embed, spread_spectrum
from adnerf_core.watermark import detect as detection

SECONDS = 10.0
CLIPS_A_WINDOW = 5
WINDOWS = {64: 60, 96: 4, 128: 30, 256: 8, 512: 2}
"""Windows of footage for each size, px. 300 clips without a miss show a rate of 99 % with a confidence of 95 %."""

PROMISED = "CRF 28, 75 %"
THREE_QUARTERS = "scale=trunc(iw*0.375)*2:trunc(ih*0.375)*2"
QUICK = ("-preset", "veryfast", "-crf", "23")
ATTACKS = {
    "none": None,
    PROMISED: ["-vf", THREE_QUARTERS, "-crf", "28"],
    "CRF 28": ["-crf", "28"],
    "75 %": ["-vf", THREE_QUARTERS, "-crf", "18"],
    "CRF 33": ["-crf", "33"],
    "WebM (VP9, CRF 33)": ["-c:v", "libvpx-vp9", "-crf", "33", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "6"],
    "light, contrast, colour": ["-vf", "eq=brightness=0.08:contrast=1.2:saturation=0.6", *QUICK],
    "30 fps": ["-r", "30", *QUICK],
    "5 % cropped": ["-vf", "crop=iw*0.95:ih*0.95", *QUICK],
    "10 % cropped at one side": ["-vf", "crop=iw*0.9:ih:0:0", *QUICK],
    "3 s of it, CRF 28": ["-ss", "4", "-t", "3", "-crf", "28"],
}
ALWAYS = ("none", PROMISED)
"""Attacks that every clip of a window goes through; the others take the first clip."""

THOROUGH = 2
"""So many windows of each size go through all attacks, the others through the promised one only."""

SHORT_S = (0.3, 0.6, 1.0, 2.0)
"""Lengths, s, at which clips as written are searched."""


@dataclass(frozen=True)
class Window:
    """A stretch of footage at one size, and the seed of what is made of it."""

    footage: Path
    start_s: float
    size: int
    seed: int
    keys: int
    quick: bool = False


@dataclass
class Figures:
    """What was measured: lists of values by attack or name, for one window or for many."""

    found: dict[str, list[int]] = field(default_factory=partial(defaultdict, list))
    scores: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    wrong: int = 0
    sign_errors: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    picture: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    unmarked_scores: list[float] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Takes in what another window gave."""
        for name in ("found", "scores", "sign_errors", "picture"):
            for key, values in getattr(other, name).items():
                getattr(self, name)[key] += values
        self.wrong += other.wrong
        self.unmarked_scores += other.unmarked_scores


def main() -> None:
    """Parses the command line, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="videos of people speaking, 10 s or longer")
    parser.add_argument("--share", type=float, default=1.0, help="share of the windows to measure (default: all)")
    parser.add_argument("--keys", type=int, default=10_000, help="unmarked searches in all (default: %(default)s)")
    parser.add_argument(
        "--sizes", type=int, nargs="*", choices=WINDOWS, default=list(WINDOWS), help="sizes, px (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help=f"only {PROMISED}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        footage = [*given.footage, synthetic(Path(folder) / "speaker.mp4")]
        by_size: dict[int, Figures] = defaultdict(Figures)
        # Fresh processes: a fork would inherit the locks of libraries' threads.
        with ProcessPoolExecutor(given.jobs, get_context("spawn")) as pool:
            planned = windows(footage, given.sizes, given.share, given.keys, given.seed)
            tasks = {pool.submit(measure, replace(each, quick=given.quick or each.quick)): each for each in planned}
            for done in as_completed(tasks):
                by_size[tasks[done].size].add(done.result())
                figures = summary(by_size, len(given.footage))
                if given.json:
                    given.json.write_text(json.dumps(figures, indent=1) + "\n")
    show(figures)


def synthetic(path: Path) -> Path:
    """Footage for everybody: the demo's speaker, moved by its own speech."""
    from demo.speaker import make_speaker

    make_speaker(path, size=256)
    return path


def windows(footage: list[Path], sizes: list[int], share: float, keys: int, seed: int) -> list[Window]:
    """The windows to measure, the sizes mixed, so that a part of them is a fair part."""
    rng = random.Random(seed)
    lengths = [ffmpeg.probe(path).duration_s for path in footage]
    planned = []
    for size in sizes:
        places = [(k % len(footage), rng.random()) for k in range(max(1, round(WINDOWS[size] * share)))]
        starts = [(footage[i], at * max(0.0, lengths[i] - SECONDS - 0.5)) for i, at in places]
        planned += [(k / len(starts), *start, size, k >= THOROUGH) for k, start in enumerate(starts)]
    planned.sort(key=lambda window: window[0])
    each = math.ceil(keys / len(planned))
    return [
        Window(path, start_s, size, seed=seed * 1000 + k, keys=each, quick=quick)
        for k, (_, path, start_s, size, quick) in enumerate(planned)
    ]


def measure(window: Window) -> Figures:
    """All figures of one window."""
    cv2.setNumThreads(1)
    rng = random.Random(window.seed)
    size, figures = (window.size, window.size), Figures()
    footage = list(ffmpeg.read_frames(window.footage, size=size, start_s=window.start_s, duration_s=SECONDS))
    # Wrong keys come from a source of their own: clips are the same however many are tried.
    figures.unmarked_scores += unmarked(footage, window.keys, random.Random(f"wrong keys {window.seed}"))
    for clip in range(CLIPS_A_WINDOW):
        number, key, begin = rng.getrandbits(spread_spectrum.BITS), rng.randbytes(32), rng.randrange(1500)
        frames = varied(footage, mirrored=bool(clip % 2), gain=rng.uniform(0.8, 1.15))
        marker = embed.WatermarkEmbedder(number, key, *size)
        clock = time.process_time()
        marked = [marker.apply(frame, begin + k) for k, frame in enumerate(frames)]
        figures.picture["embedding, CPU ms a frame"].append(1000 * (time.process_time() - clock) / len(frames))
        figures.picture["PSNR, dB"] += [psnr(*pair) for pair in zip(frames, marked, strict=True)]
        if clip == 0:
            look(frames, marked, figures)
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder) / "written.mp4"
            ffmpeg.write_video(written, marked)
            for name, arguments in ATTACKS.items():
                if name == PROMISED or (not window.quick and (clip == 0 or name in ALWAYS)):
                    video = attacked(written, arguments)
                    search(video, name, number, key, figures)
                    if name in ALWAYS and not window.quick:
                        figures.sign_errors[name].append(sign_errors(video, number, key))
            for seconds in SHORT_S if clip == 1 and not window.quick else ():
                short = attacked(written, ["-t", str(seconds), "-c", "copy"])
                search(short, f"{seconds} s, as written", number, key, figures)
    return figures


def varied(frames: list[np.ndarray], mirrored: bool, gain: float) -> list[np.ndarray]:
    """The frames mirrored or not, and lighter or darker."""
    table = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
    return [cv2.LUT(np.ascontiguousarray(frame[:, ::-1]) if mirrored else frame, table) for frame in frames]


def attacked(written: Path, arguments: list[str] | None) -> Path:
    """The file after ffmpeg did `arguments` to it."""
    if arguments is None:
        return written
    out = written.with_name("attacked.webm" if "libvpx-vp9" in arguments else "attacked.mp4")
    quiet = [ffmpeg.ffmpeg_path(), "-loglevel", "error", "-y"]
    subprocess.run([*quiet, "-i", written, *arguments, "-threads", "1", out], check=True)
    return out


def search(video: Path, name: str, number: int, key: bytes, figures: Figures) -> None:
    """Searches a marked file, and notes what came of it."""
    before = cpu_seconds()
    found = detection.detect(video, key)
    figures.picture["detection where found, CPU s"] += [cpu_seconds() - before] if found else []
    figures.wrong += found is not None and found.number != number
    figures.found[name].append(int(found is not None and found.number == number))
    figures.scores[name].append(found.score if found else 0.0)


def sign_errors(video: Path, number: int, key: bytes) -> float:
    """The share of coded signs that arrive wrong, at the phase that the number fits best."""
    frames = ffmpeg.read_frames(
        video,
        size=(spread_spectrum.RASTER, spread_spectrum.RASTER),
        fps=2 * detection.RATE,
        duration_s=detection.WINDOW_S,
    )
    waves = detection.temporal_spectrum(*detection.luma_pairs(frames))
    seen = spread_spectrum.SpreadSpectrumCode(key).gather(
        spread_spectrum.pool_cells(spread_spectrum.whiten(waves), spread_spectrum.WHOLE)
    )
    codeword = convolutional_code.encode(number, spread_spectrum.BITS)
    return float(np.mean(np.sign(seen[np.argmax(seen @ codeword)]) != codeword))


def unmarked(footage: list[np.ndarray], keys: int, rng: random.Random) -> list[float]:
    """Scores of footage without a mark, searched with so many keys, the picture as a whole."""
    edge = spread_spectrum.RASTER
    frames = (cv2.resize(frame, (edge, edge), interpolation=cv2.INTER_AREA) for frame in footage)
    seen = detection.temporal_spectrum(*detection.luma_pairs(frames))
    return [
        spread_spectrum.SpreadSpectrumCode(rng.randbytes(32)).read(seen, [spread_spectrum.WHOLE])[1]
        for _ in range(keys)
    ]


def psnr(frame: np.ndarray, marked: np.ndarray) -> float:
    """Of one marked frame against the unmarked one, dB."""
    return 10 * math.log10(255**2 / np.square(marked.astype(np.float32) - frame).mean())


def look(frames: list[np.ndarray], marked: list[np.ndarray], figures: Figures) -> None:
    """Figures of the picture: how far the mark is from none."""
    changes = [a.astype(np.int16) - b for a, b in zip(marked[:50], frames[:50], strict=True)]
    some = range(0, len(frames), 50)
    ssim = [structural_similarity(frames[k], marked[k], channel_axis=2) for k in some]
    steps = [np.abs(b - a).mean() for a, b in itertools.pairwise(changes)]
    figures.picture["SSIM"] += ssim
    figures.picture["change from frame to frame, 8-bit steps"] += steps


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def summary(by_size: dict[int, Figures], given: int) -> dict:
    """The figures as they are printed and written."""
    null = sorted(score for figures in by_size.values() for score in figures.unmarked_scores)
    return {
        "clips": {str(size): len(figures.found[PROMISED]) for size, figures in sorted(by_size.items())},
        "footage": {"given": given, "synthetic": 1},
        "sizes": {str(size): _of_size(figures) for size, figures in sorted(by_size.items())},
        "unmarked": {
            "searches": len(null),
            "false_alarms": sum(
                detection.false_alarm(score, spread_spectrum.PHASES) <= detection.FALSE_ALARM for score in null
            ),
            "score_median": round(null[len(null) // 2], 2),
            "score_max": round(null[-1], 2),
            "bound_of_a_false_alarm": detection.FALSE_ALARM,
        },
    }


def _of_size(figures: Figures) -> dict:
    attacks = {
        name: {
            "clips": len(found),
            "found": sum(found),
            "rate": round(fmean(found), 4),
            "score_median": round(sorted(figures.scores[name])[len(found) // 2], 1),
            "score_min": min(figures.scores[name]),
            "coded_sign_errors": round(fmean(errors), 4) if (errors := figures.sign_errors.get(name)) else None,
        }
        for name, found in figures.found.items()
    }
    picture = {name: round(fmean(values), 4) for name, values in figures.picture.items()}
    return {
        "attacks": attacks,
        "wrong_numbers": figures.wrong,
        "PSNR min, dB": round(min(figures.picture["PSNR, dB"]), 2),
        **picture,
    }


def show(figures: dict) -> None:
    """Prints the figures: found of clips, and the median score, by attack and size."""
    sizes = figures["sizes"]
    table = Table("attack", *(f"{size} px" for size in sizes))
    names = dict.fromkeys(name for size in sizes.values() for name in size["attacks"])
    for name in names:
        cells = [size["attacks"].get(name) for size in sizes.values()]
        table.add_row(name, *(f"{c['found']}/{c['clips']}  {c['score_median']}" if c else "" for c in cells))
    Console().print(table)
    rest = {size: {name: value for name, value in all_.items() if name != "attacks"} for size, all_ in sizes.items()}
    print(json.dumps({"sizes": rest, "unmarked": figures["unmarked"]}, indent=1))


if __name__ == "__main__":
    main()
