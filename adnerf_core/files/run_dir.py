"""RunDir: every file name inside a run, and atomic writes.

run.json            resolved configuration, seed, versions, the dataset's place and digest; written before step 0
metrics.jsonl       one line a report: {"phase", "step", "loss", "psnr", ...}
checkpoints/        last.safetensors: everything that exact resume needs
previews/           the same held-out frames at each checkpoint, as JPEG; preview.jpg is the newest
model.safetensors   the finished portrait, with subject.json: what rendering needs besides
track.npz           poses, motion of the torso, eyes and brows of the footage, for rendering without the dataset
background.png      the clean plate at the run's size
result.json         last of all: its presence means that training is done
evaluation.json     figures; report.html, contact_sheet.png and side_by_side.mp4 stand beside it
views.jpg           a sheet of pictures of the subject turned
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adnerf_core.errors import DiskFull, NotReady


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renamed to `path` when the block ends well, removed when it does not.

    Raises DiskFull where the disk has no space left.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"No space left to write {path.name}.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON. Raises NotReady where the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NotReady(f"{path} is missing or damaged ({error}).") from error


class RunDir:
    """Names inside one run directory. Nothing is created before something is written."""

    def __init__(self, root: Path):
        self.root = Path(root)
        self.manifest = self.root / "run.json"
        self.metrics = self.root / "metrics.jsonl"
        self.checkpoint = self.root / "checkpoints" / "last.safetensors"
        self.previews = self.root / "previews"
        self.preview = self.previews / "preview.jpg"
        self.model = self.root / "model.safetensors"
        self.subject = self.root / "subject.json"
        self.track = self.root / "track.npz"
        self.background = self.root / "background.png"
        self.result = self.root / "result.json"
        self.evaluation = self.root / "evaluation.json"
        self.report = self.root / "report.html"
        self.contact_sheet = self.root / "contact_sheet.png"
        self.side_by_side = self.root / "side_by_side.mp4"
        self.views = self.root / "views.jpg"

    @property
    def done(self) -> bool:
        """Whether training ended well."""
        return self.result.exists()

    @property
    def dataset(self) -> Path:
        """Where the dataset of this run lies (a run remembers it). Raises NotReady where there is no run."""
        return Path(read_json(self.manifest)["dataset"])

    def append_metrics(self, **values: Any) -> None:
        """Adds a line to metrics.jsonl."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.metrics.open("a") as file:
            file.write(json.dumps(values) + "\n")
