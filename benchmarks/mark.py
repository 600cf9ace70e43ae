"""Measures the detection rate and the cost of the watermark: `python -m benchmarks.mark [--footage VIDEO ...] [--json FILE]`.

Clips of ten seconds are cut out of footage: a synthetic speaker and the given videos. Each clip may be mirrored, is made lighter or darker, and
is marked with a number and a key of its own, as part of a longer video that starts earlier. It is written as the service writes videos,
converted by ffmpeg (an attack), and searched. False alarms are measured on the footage itself, with many keys: footage without a mark of
a key is an unmarked video for this key.

Equal seeds give equal clips. The results are written after every window, so a run may be interrupted.
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
from adnerf_core.watermark import convolutional_code, detect, embed, spread_spectrum
from adnerf_core.watermark.spread_spectrum import Watermark

SECONDS = 10.0
"""Length of a clip."""
CLIPS_PER_WINDOW = 5
"""Clips that are cut from one window; 60 windows of the smallest size give 300 clips."""
WINDOWS = {64: 60, 96: 4, 128: 30, 256: 8, 512: 2}
"""Windows of footage for each size, px. The smallest size is the hardest: 300 clips without a miss show a rate of 99 % with a confidence
of 95 %."""
PROMISED = "CRF 28, 75 %"
"""The attack that the documentation promises to survive."""
THREE_QUARTERS = "scale=trunc(iw*0.375)*2:trunc(ih*0.375)*2"
"""ffmpeg filter that scales to 75 %, rounded to even sizes."""
QUICK = ("-preset", "veryfast", "-crf", "23")
"""Encoder options of the attacks that do not test the encoder: the default quality of x264 (CRF 23), and a quick preset."""
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
"""ffmpeg arguments of each attack; None leaves the file as it was written."""
ALWAYS = ("none", PROMISED)
"""Attacks on every clip of a window; the others are made on the first clip only."""
THOROUGH_WINDOWS = 2
"""Number of windows of each size with all attacks; the others are for the promised attack only."""
SHORT_S = (0.3, 0.6, 1.0, 2.0)
"""Lengths, s, to which clips are cut, without recoding, to find the shortest in which the watermark is detected."""


@dataclass(frozen=True)
class Window:
    """A part of the footage at one size.

    Attributes:
        footage, start_s: the video, and the start of the part in it.
        size: edge of the frames, px.
        seed: of clips, numbers and keys.
        keys: number of searches with wrong keys.
        quick: whether only the promised attack is made.
    """

    footage: Path
    start_s: float
    size: int
    seed: int
    keys: int
    quick: bool = False


@dataclass
class Results:
    """Measurements of one window or of many.

    Attributes:
        detections: for each attack, 1 or 0 for each clip.
        scores: for each attack, the score of each clip; 0 if nothing was found.
        wrong: number of clips in which another number was found.
        sign_errors: for each attack, the share of wrong signs in each clip.
        picture: values by name: PSNR, SSIM and times.
        unmarked_scores: scores of searches with wrong keys.
    """

    detections: dict[str, list[int]] = field(default_factory=partial(defaultdict, list))
    scores: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    wrong: int = 0
    sign_errors: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    picture: dict[str, list[float]] = field(default_factory=partial(defaultdict, list))
    unmarked_scores: list[float] = field(default_factory=list)

    def add(self, other: Results) -> None:
        """Adds the measurements of another window."""
        for name in ("detections", "scores", "sign_errors", "picture"):
            for key, values in getattr(other, name).items():
                getattr(self, name)[key] += values
        self.wrong += other.wrong
        self.unmarked_scores += other.unmarked_scores


def main() -> None:
    """Parses the command line, measures, and prints the results."""
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
    parser.add_argument("--json", type=Path, help="write the results to this file, too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        footage = [*args.footage, synthetic(Path(folder) / "speaker.mp4")]
        by_size: dict[int, Results] = defaultdict(Results)
        # Fresh processes: a fork would inherit the locks of libraries' threads.
        with ProcessPoolExecutor(args.jobs, get_context("spawn")) as pool:
            planned = windows(footage, args.sizes, args.share, args.keys, args.seed)
            tasks = {pool.submit(measure, replace(each, quick=args.quick or each.quick)): each for each in planned}
            for task in as_completed(tasks):
                by_size[tasks[task].size].add(task.result())
                report = summary(by_size, len(args.footage))
                if args.json:
                    args.json.write_text(json.dumps(report, indent=1) + "\n")
    show(report)


def synthetic(path: Path) -> Path:
    """Makes footage that needs no video of a person: the demo's drawn speaker."""
    from demo.scene import Scene
    from demo.speaker import make_speaker

    make_speaker(path, scene=Scene(256, 256))
    return path


def windows(footage: list[Path], sizes: list[int], share: float, keys: int, seed: int) -> list[Window]:
    """Plans the windows to measure. Sizes are interleaved, so that an interrupted run has a fair part of each.

    Args:
        footage: the videos to cut windows from, in turn.
        sizes: edges of the frames, px.
        share: share of the windows in WINDOWS to plan.
        keys: number of searches with wrong keys, in all windows together.
        seed: of the positions in the footage, and of the seeds of the windows.
    """
    rng = random.Random(seed)
    lengths = [ffmpeg.probe(path).duration_s for path in footage]
    planned = []
    for size in sizes:
        places = [(k % len(footage), rng.random()) for k in range(max(1, round(WINDOWS[size] * share)))]
        starts = [(footage[i], at * max(0.0, lengths[i] - SECONDS - 0.5)) for i, at in places]
        planned += [(k / len(starts), *start, size, k >= THOROUGH_WINDOWS) for k, start in enumerate(starts)]
    planned.sort(key=lambda window: window[0])
    keys_per_window = math.ceil(keys / len(planned))
    return [
        Window(path, start_s, size, seed=seed * 1000 + k, keys=keys_per_window, quick=quick)
        for k, (_, path, start_s, size, quick) in enumerate(planned)
    ]


def measure(window: Window) -> Results:
    """Makes all measurements of one window."""
    cv2.setNumThreads(1)
    rng = random.Random(window.seed)
    size, results = (window.size, window.size), Results()
    footage = list(ffmpeg.read_frames(window.footage, size=size, start_s=window.start_s, duration_s=SECONDS))
    # Wrong keys have a generator of their own, so that clips do not depend on the number of keys.
    results.unmarked_scores += unmarked(footage, window.keys, random.Random(f"wrong keys {window.seed}"))
    for clip in range(CLIPS_PER_WINDOW):
        mark = Watermark(rng.getrandbits(spread_spectrum.BITS), rng.randbytes(32))
        begin = rng.randrange(1500)
        frames = varied(footage, mirrored=bool(clip % 2), gain=rng.uniform(0.8, 1.15))
        embedder = embed.WatermarkEmbedder(mark.number, mark.key, *size)
        clock = time.process_time()
        marked = [embedder.apply(frame, begin + k) for k, frame in enumerate(frames)]
        results.picture["embedding, CPU ms a frame"].append(1000 * (time.process_time() - clock) / len(frames))
        results.picture["PSNR, dB"] += [psnr(*pair) for pair in zip(frames, marked, strict=True)]
        if clip == 0:
            measure_picture(frames, marked, results)
        attack_clip(marked, mark, window, clip, results)
    return results


def attack_clip(marked: list[np.ndarray], mark: Watermark, window: Window, clip: int, results: Results) -> None:
    """Writes a marked clip, makes the attacks that its number in the window calls for, and searches the outcome of each."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "written.mp4"
        ffmpeg.write_video(written, marked)
        for name, arguments in ATTACKS.items():
            if name == PROMISED or (not window.quick and (clip == 0 or name in ALWAYS)):
                video = attacked(written, arguments)
                search(video, name, mark, results)
                if name in ALWAYS and not window.quick:
                    results.sign_errors[name].append(sign_errors(video, mark))
        for seconds in SHORT_S if clip == 1 and not window.quick else ():
            short = attacked(written, ["-t", str(seconds), "-c", "copy"])
            search(short, f"{seconds} s, as written", mark, results)


def varied(frames: list[np.ndarray], mirrored: bool, gain: float) -> list[np.ndarray]:
    """Returns the frames, mirrored if `mirrored`, with their brightness multiplied by `gain`."""
    table = np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)
    return [cv2.LUT(np.ascontiguousarray(frame[:, ::-1]) if mirrored else frame, table) for frame in frames]


def attacked(written: Path, arguments: list[str] | None) -> Path:
    """Converts a file with the ffmpeg arguments of an attack; returns the result."""
    if arguments is None:
        return written
    out = written.with_name("attacked.webm" if "libvpx-vp9" in arguments else "attacked.mp4")
    command = [ffmpeg.ffmpeg_path(), "-loglevel", "error", "-y"]
    subprocess.run([*command, "-i", written, *arguments, "-threads", "1", out], check=True)
    return out


def search(video: Path, name: str, mark: Watermark, results: Results) -> None:
    """Searches a video for its watermark, and adds the outcome to the results of the attack `name`."""
    before = cpu_seconds()
    detection = detect.detect(video, mark.key)
    results.picture["detection where found, CPU s"] += [cpu_seconds() - before] if detection else []
    results.wrong += detection is not None and detection.number != mark.number
    results.detections[name].append(int(detection is not None and detection.number == mark.number))
    results.scores[name].append(detection.score if detection else 0.0)


def sign_errors(video: Path, mark: Watermark) -> float:
    """Returns the share of the codeword's signs that are received wrong, at the phase that fits the number best."""
    frames = ffmpeg.read_frames(
        video,
        size=(spread_spectrum.RASTER, spread_spectrum.RASTER),
        fps=2 * detect.PICTURE_RATE,
        duration_s=detect.WINDOW_S,
    )
    spectrum = spread_spectrum.whiten(detect.temporal_spectrum(*detect.luma_pairs(frames)))
    code = spread_spectrum.SpreadSpectrumCode(mark.key)
    received = code.despread(spread_spectrum.pool_cells(spectrum, spread_spectrum.NO_CROP))
    codeword = convolutional_code.encode(mark.number, spread_spectrum.BITS)
    return float(np.mean(np.sign(received[np.argmax(received @ codeword)]) != codeword))


def unmarked(footage: list[np.ndarray], keys: int, rng: random.Random) -> list[float]:
    """Searches unmarked footage, uncropped, with random keys; returns the scores."""
    edge = spread_spectrum.RASTER
    frames = (cv2.resize(frame, (edge, edge), interpolation=cv2.INTER_AREA) for frame in footage)
    spectrum = detect.temporal_spectrum(*detect.luma_pairs(frames))
    codes = (spread_spectrum.SpreadSpectrumCode(rng.randbytes(32)) for _ in range(keys))
    return [code.decode(spectrum, [spread_spectrum.NO_CROP])[1] for code in codes]


def psnr(frame: np.ndarray, marked: np.ndarray) -> float:
    """Returns the PSNR of a marked frame against the unmarked one, dB."""
    return 10 * math.log10(255**2 / np.square(marked.astype(np.float32) - frame).mean())


def measure_picture(frames: list[np.ndarray], marked: list[np.ndarray], results: Results) -> None:
    """Measures the visibility of the watermark: the SSIM of every 50th frame, and the flicker of the first 50."""
    changes = [a.astype(np.int16) - b for a, b in zip(marked[:50], frames[:50], strict=True)]
    ssim = [structural_similarity(frames[k], marked[k], channel_axis=2) for k in range(0, len(frames), 50)]
    results.picture["SSIM"] += ssim
    results.picture["change from frame to frame, 8-bit steps"] += [
        np.abs(b - a).mean() for a, b in itertools.pairwise(changes)
    ]


def cpu_seconds() -> float:
    """Returns the CPU time of this process and of its children that have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def summary(by_size: dict[int, Results], video_count: int) -> dict:
    """Summarises the results, as they are printed and written; `video_count` is the number of videos on the command line."""
    null = sorted(score for results in by_size.values() for score in results.unmarked_scores)
    return {
        "clips": {str(size): len(results.detections[PROMISED]) for size, results in sorted(by_size.items())},
        "footage": {"given": video_count, "synthetic": 1},
        "sizes": {str(size): _size_summary(results) for size, results in sorted(by_size.items())},
        "unmarked": {
            "searches": len(null),
            "false_alarms": sum(
                detect.false_alarm(score, spread_spectrum.PHASES) <= detect.MAX_FALSE_ALARM for score in null
            ),
            "score_median": round(null[len(null) // 2], 2),
            "score_max": round(null[-1], 2),
            "bound_of_a_false_alarm": detect.MAX_FALSE_ALARM,
        },
    }


def _size_summary(results: Results) -> dict:
    attacks = {
        name: {
            "clips": len(detections),
            "found": sum(detections),
            "rate": round(fmean(detections), 4),
            "score_median": round(sorted(results.scores[name])[len(detections) // 2], 1),
            "score_min": min(results.scores[name]),
            "coded_sign_errors": round(fmean(errors), 4) if (errors := results.sign_errors.get(name)) else None,
        }
        for name, detections in results.detections.items()
    }
    picture = {name: round(fmean(values), 4) for name, values in results.picture.items()}
    return {
        "attacks": attacks,
        "wrong_numbers": results.wrong,
        "PSNR min, dB": round(min(results.picture["PSNR, dB"]), 2),
        **picture,
    }


def show(report: dict) -> None:
    """Prints a table with the clips found and the median score, by attack and size, and the rest of `report` as JSON."""
    sizes = report["sizes"]
    table = Table("attack", *(f"{size} px" for size in sizes))
    names = dict.fromkeys(name for size in sizes.values() for name in size["attacks"])
    for name in names:
        cells = [size["attacks"].get(name) for size in sizes.values()]
        table.add_row(name, *(f"{c['found']}/{c['clips']}  {c['score_median']}" if c else "" for c in cells))
    Console().print(table)
    rest = {size: {name: value for name, value in all_.items() if name != "attacks"} for size, all_ in sizes.items()}
    print(json.dumps({"sizes": rest, "unmarked": report["unmarked"]}, indent=1))


if __name__ == "__main__":
    main()
