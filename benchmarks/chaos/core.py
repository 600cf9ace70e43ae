"""The core of the experiments: the stub of the tests, which follows orders in the uploaded file, with a journal of its steps.

Orders are JSON in UTF-16, because the API refuses files that it recognises as text, and it does not recognise UTF-16. In
addition to the orders of the stub there is `spin`: seconds of CPU time per step.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from adnerf_core.files.run_dir import read_json
from tests.worker import stub_core

JOURNAL = "CHAOS_JOURNAL"
"""Environment variable: path of the journal, which all workers append to."""
VISIBILITY = "CHAOS_VISIBILITY_S"
"""Environment variable: visibility timeout of the broker, seconds, if it is not the default."""


class Step(NamedTuple):
    """The start of one step of a job: monotonic time, which all processes of a machine share and no leap of a clock changes, job,
    attempt, stage, number of the step in the stage, process id."""

    moment: float
    job_id: str
    attempt: int
    stage: str
    number: int
    pid: int


def order(**orders: Any) -> bytes:
    """Returns an upload with these orders for the core."""
    return json.dumps(orders).encode("utf-16")


def rendered(audio: bytes) -> bytes:
    """Returns the video that the core renders from this audio."""
    return b"model says %s before " % audio


def read_journal(path: Path) -> list[Step]:
    """Returns all steps in the order of the journal; none if there is no journal yet."""
    if not path.exists():
        return []
    fields = (line.split() for line in path.read_text().splitlines())
    return [Step(float(a), b, int(c), d, int(e), int(f)) for a, b, c, d, e, f in fields]


def _journaling(folder: Path, orders: dict[str, Any], progress: Callable[..., None]) -> Callable[..., None]:
    """Returns a Progress that writes each step into the journal. `folder` is that of the attempt, .../<job>/<attempt>."""

    def record(stage: str, done: int, total: int) -> None:
        progress(stage, done, total)  # first: it raises if the job must stop, and then the step does not start
        if done < total:
            line = f"{time.monotonic():.3f} {folder.parent.name} {folder.name} {stage} {done} {os.getpid()}\n"
            journal = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(journal, line.encode())  # one write: lines of several processes do not mix
            os.close(journal)
        end = time.process_time() + orders.get("spin", 0.0)
        while time.process_time() < end:
            pass

    return record


def _preprocess(video, out, config, progress, *, source_sha256=None):
    return stub_core.preprocess(video, out, config, _journaling(out.parent, json.loads(video.read_bytes()), progress))


def _train(dataset, run, config, progress):
    journaling = _journaling(run.root.parent, read_json(dataset / "dataset.json"), progress)
    return stub_core.train(dataset, run, config, journaling)


def _render(run, audio, out, options, progress, **more):
    journaling = _journaling(out.parent, json.loads(audio.read_bytes()), progress)
    return stub_core.render(run, audio, out, options, journaling, **more)


CORE = replace(stub_core.CORE, preprocess=_preprocess, train=_train, render=_render)
