"""The trial of one clip: preprocess, train, evaluate, and render a foreign voice; with what each stage costs.

Everything is written into a folder of the clip: dataset/, run/, foreign.mp4, sheet.jpg and trial.json. The record in trial.json is
written after each stage, and stages that are in it are not done again.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adnerf_core.config import PRESETS, TrainConfig
from adnerf_core.data.dataset import SubjectDataset
from adnerf_core.errors import AdnerfError
from adnerf_core.evaluation.evaluate import evaluate
from adnerf_core.files.images import write_rgb
from adnerf_core.files.run_dir import RunDir, read_json, write_json
from adnerf_core.preprocess.pipeline import preprocess
from adnerf_core.synthesis.render import render
from adnerf_core.training.train import train
from benchmarks.people.sheet import contact_sheet

CRASH = "crash"
"""The code of a clip on which the process ended, or raised anything but an AdnerfError."""


@dataclass(frozen=True)
class Trial:
    """One clip and how it is tried.

    Attributes:
        clip: the video.
        folder: where the results are written.
        voice: sound of a foreign voice.
        preset: of the training.
        steps: if given, training steps of each phase, instead of the preset's.
        until: the last stage: "preprocess" stops there, "render" does all.
    """

    clip: Path
    folder: Path
    voice: Path
    preset: str
    steps: int | None = None
    until: str = "render"

    @property
    def record(self) -> Path:
        """The file of the results."""
        return self.folder / "trial.json"

    @property
    def inputs(self) -> dict[str, Any]:
        """What the results depend on; results of other inputs are not continued."""
        state = self.clip.stat()
        return {"clip": self.clip.name, "bytes": state.st_size, "preset": self.preset, "steps": self.steps}

    def config(self) -> TrainConfig:
        """The training configuration."""
        config = PRESETS[self.preset]
        if self.steps is None:
            return config
        return config.model_copy(update=dict.fromkeys(("audio_steps", "head_steps", "torso_steps"), self.steps))


def run_apart(trial: Trial) -> dict[str, Any]:
    """Runs a trial in a process of its own, so that whatever it does ends with it; returns its record.

    The record has the `code` of the error ("" if there is none) with its `message`, the `warnings` of the footage, the `figures`
    of the evaluation, and `stages`: CPU and wall seconds of each that is done.
    """
    child = multiprocessing.get_context("spawn").Process(target=run, args=(trial,))
    child.start()
    child.join()
    record = read_json(trial.record) if trial.record.exists() else new_record(trial)
    if child.exitcode != 0:
        record |= {"code": CRASH, "message": f"The process ended with status {child.exitcode}."}
        write_json(trial.record, record)
    return record


def new_record(trial: Trial) -> dict[str, Any]:
    """Returns the record of a trial of which nothing is done."""
    return {"inputs": trial.inputs, "stages": {}, "code": "", "message": "", "footage": {"warnings": []}}


def run(trial: Trial) -> None:
    """Runs the stages of a trial that are not done yet, and writes its record."""
    trial.folder.mkdir(parents=True, exist_ok=True)
    record = read_json(trial.record) if trial.record.exists() else {}
    if record.get("inputs") != trial.inputs:
        shutil.rmtree(trial.folder / "run", ignore_errors=True)  # training would go on with the run of other inputs
        record = new_record(trial)
    record |= {"code": "", "message": "", "details": ""}
    try:
        for name, stage in STAGES.items():
            if name not in record["stages"]:
                record["stages"][name] = _timed(stage, trial, record)
                write_json(trial.record, record)
            if name == trial.until:
                break
    except AdnerfError as error:
        record |= {"code": error.code, "message": error.message}
    except Exception:  # whatever one clip does, the others are tried
        record |= {"code": CRASH, "message": traceback.format_exc(limit=-1).strip().splitlines()[-1]}
        record |= {"details": traceback.format_exc()}
    footage = trial.folder / "dataset" / "footage.json"
    if footage.exists():
        record["footage"] = read_json(footage)
    write_json(trial.record, record)


def _timed(stage: Callable[[Trial, dict[str, Any]], None], trial: Trial, record: dict[str, Any]) -> dict[str, float]:
    """Runs a stage; returns its CPU seconds, with those of ffmpeg, and its wall seconds."""
    cpu, wall = sum(os.times()[:4]), time.perf_counter()
    stage(trial, record)
    return {"cpu_s": round(sum(os.times()[:4]) - cpu, 1), "wall_s": round(time.perf_counter() - wall, 1)}


def _preprocess(trial: Trial, record: dict[str, Any]) -> None:
    preprocess(trial.clip, trial.folder / "dataset")


def _train(trial: Trial, record: dict[str, Any]) -> None:
    train(SubjectDataset(trial.folder / "dataset"), RunDir(trial.folder / "run"), trial.config())


def _evaluate(trial: Trial, record: dict[str, Any]) -> None:
    run = RunDir(trial.folder / "run")
    evaluate(run)
    record["figures"] = read_json(run.evaluation)


def _render(trial: Trial, record: dict[str, Any]) -> None:
    out = trial.folder / "foreign.mp4"
    video = render(RunDir(trial.folder / "run"), trial.voice, out)
    record["video"] = {"width": video.width, "height": video.height, "frames": video.frames}
    write_rgb(trial.folder / "sheet.jpg", contact_sheet(RunDir(trial.folder / "run"), out))


STAGES: dict[str, Callable[[Trial, dict[str, Any]], None]] = {
    "preprocess": _preprocess,
    "train": _train,
    "evaluate": _evaluate,
    "render": _render,
}
