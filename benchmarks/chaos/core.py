"""The core that the chaos runs on: the tests' stub, which does what the uploaded file says, and a journal of its steps.

Orders come as JSON in UTF-16: to the API, which refuses text, that is media like any other. Beside those of the stub:
`spin`, seconds of work of the processor a step.
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
"""Environment variable: the file into which all workers write."""
VISIBILITY = "CHAOS_VISIBILITY_S"
"""Environment variable: another visibility timeout of the broker than the service's own, in seconds."""


class Step(NamedTuple):
    """One step of a job that was begun: when (s since 1970), of which attempt, by which process."""

    moment: float
    job_id: str
    attempt: int
    stage: str
    number: int
    pid: int


def order(**orders: Any) -> bytes:
    """An upload that makes the core do this."""
    return json.dumps(orders).encode("utf-16")


def rendered(audio: bytes) -> bytes:
    """The video that the core makes of such an upload."""
    return b"model says %s before " % audio


def read_journal(path: Path) -> list[Step]:
    """All steps that were begun, in their order."""
    if not path.exists():
        return []
    fields = (line.split() for line in path.read_text().splitlines())
    return [Step(float(a), b, int(c), d, int(e), int(f)) for a, b, c, d, e, f in fields]


def _noting(folder: Path, orders: dict[str, Any], progress: Callable[..., None]) -> Callable[..., None]:
    """A Progress that writes each step down. `folder` is the attempt's own, .../<job>/<attempt>."""

    def note(stage: str, done: int, total: int) -> None:
        progress(stage, done, total)  # first: a step that is not begun, because the job must stop, is none
        if done < total:
            line = f"{time.time():.3f} {folder.parent.name} {folder.name} {stage} {done} {os.getpid()}\n"
            journal = os.open(os.environ[JOURNAL], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.write(journal, line.encode())  # one write: lines of several processes do not mix
            os.close(journal)
        end = time.process_time() + orders.get("spin", 0.0)
        while time.process_time() < end:
            pass

    return note


def _preprocess(video, out, config, progress, *, source_sha256=None):
    return stub_core.preprocess(video, out, config, _noting(out.parent, json.loads(video.read_bytes()), progress))


def _train(dataset, run, config, progress):
    noting = _noting(run.root.parent, read_json(dataset / "dataset.json"), progress)
    return stub_core.train(dataset, run, config, noting)


def _render(run, audio, out, options, progress, **more):
    noting = _noting(out.parent, json.loads(audio.read_bytes()), progress)
    return stub_core.render(run, audio, out, options, noting, **more)


CORE = replace(stub_core.CORE, preprocess=_preprocess, train=_train, render=_render)
