"""Turns a reference video into a dataset (data/dataset.py describes its files).

The stages are a dict, run in order. Each writes its results into a small file when it is done, and is skipped if that file
exists, so that a preprocessing that was killed goes on where it stopped. Pictures are streamed: no stage holds more than a
few dozen of them.

The video is read three times: by the probe, for the sound, and for the pictures. That last reading checks them and writes
footage.mp4, from which the later stages read the pictures: what is learnt from is what is shown later. The video is read once more
for its SHA-256, unless the caller knows that.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from adnerf_core.config import PreprocessConfig
from adnerf_core.data.dataset import VERSION, SubjectDataset
from adnerf_core.errors import AdnerfError
from adnerf_core.files.run_dir import atomic, file_sha256, read_json, write_json
from adnerf_core.preprocess import footage_report, picture_stages, tracking_stages
from adnerf_core.preprocess.context import SCRATCH_LAYOUT, PreprocessContext, StageProgress
from adnerf_core.progress import Progress, silent

DEFAULTS = PreprocessConfig()

STAGES: dict[str, Callable[[PreprocessContext, StageProgress], dict[str, Any]]] = {
    "survey": tracking_stages.survey,
    "track": tracking_stages.track_face,
    "pose": tracking_stages.pose,
    "parse": picture_stages.parse,
    "align": tracking_stages.align,  # it has to know where the lips are hidden: they seem to rest there
    "torso": picture_stages.torso,
    "plate": picture_stages.plate,
}


def preprocess(
    video: Path,
    out: Path,
    config: PreprocessConfig = DEFAULTS,
    progress: Progress = silent,
    *,
    source_sha256: str | None = None,
) -> SubjectDataset:
    """Makes the dataset of a reference video.

    Continues an earlier call with the same video and configuration, and starts afresh if they differ. The footage report
    (footage.json) is written even if the footage is refused.

    Args:
        video: the video file.
        out: the folder of the dataset.
        config: how to preprocess.
        progress: called with the stage, what is done and the total; it may raise to stop the work.
        source_sha256: the SHA-256 of the video, hexadecimal, if the caller knows it; else the file is read for it.

    Returns:
        The dataset.

    Raises:
        MediaError, FootageError: if the footage cannot become a subject; errors.py lists the reasons.
        MissingBackend: if a library or model file is missing.
        DiskFull: if the disk has no space left.
    """
    work = PreprocessContext(Path(video), Path(out), config)
    source = {"name": work.video.name, "sha256": source_sha256 or _digest(work.video)}
    inputs = {"version": VERSION, "source": source, "config": config.model_dump(mode="json")}
    if (work.out / "dataset.json").exists():
        manifest = read_json(work.out / "dataset.json")
        if {name: manifest.get(name) for name in inputs} == inputs:
            return SubjectDataset(work.out)
    begun = inputs | {"layout": SCRATCH_LAYOUT}
    if not work.record("inputs").exists() or read_json(work.record("inputs")) != begun:
        _clear(work.out)
        write_json(work.record("inputs"), begun)
    try:
        with _single_threaded_opencv():
            for name, stage in STAGES.items():
                if not work.record(name).exists():
                    start = time.perf_counter()
                    results = stage(work, partial(progress, name))
                    write_json(work.record(name), results | {f"{name}_s": round(time.perf_counter() - start, 2)})
    except AdnerfError:
        write_json(work.out / "footage.json", footage_report.footage(work.facts()))
        raise
    _publish(work, inputs)
    return SubjectDataset(work.out)


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Lets OpenCV compute in the calling threads alone while the block runs: its own threads spin while they wait for work.

    The stages share their work among threads by frames instead.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _publish(work: PreprocessContext, inputs: dict[str, Any]) -> None:
    """Writes the track, the report and, last, the manifest; removes the intermediate files."""
    facts, arrays = work.facts(), work.arrays()
    with atomic(work.out / "track.npz") as temporary:
        np.savez(temporary, **{name: array for name, array in arrays.items() if name not in ("jaw", "left_out")})
    write_json(work.out / "footage.json", footage_report.footage(facts))
    names = (
        "size",
        "frames",
        "focal",
        "lag_ms",
        "crop",
        "reprojection_px",
        "features",
        "eye_range",
        "hole_share",
        "footage",
        "takes",
    )
    manifest = inputs | {name: facts[name] for name in names}
    manifest["center"] = [facts["size"] / 2] * 2
    valid = np.flatnonzero(arrays["valid"])
    manifest["held_out_from"] = int(valid[len(valid) - round(len(valid) * work.config.held_out)])
    manifest["seconds"] = {stage: facts[f"{stage}_s"] for stage in STAGES}
    write_json(work.out / "dataset.json", manifest)
    shutil.rmtree(work.scratch)


def _clear(out: Path) -> None:
    """Removes what an earlier preprocessing wrote into `out`, the manifest first."""
    for name in (
        "dataset.json",
        "footage.json",
        "footage.mp4",
        "track.npz",
        "background.png",
        "audio.wav",
        "features.npy",
    ):
        (out / name).unlink(missing_ok=True)
    for name in ("unfinished", "frames", "masks"):
        shutil.rmtree(out / name, ignore_errors=True)


def _digest(path: Path) -> str:
    """SHA-256 of a file; empty if there is no file, which the first stage then reports."""
    return file_sha256(path) if path.is_file() else ""
