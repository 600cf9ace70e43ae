"""RunDir names every file inside a run; atomic writes and JSON files.

run.json            resolved configuration, seed, versions, the dataset's place and digest; written before step 0
metrics.jsonl       one line per report: {"phase", "step", "loss", "psnr", ...}
checkpoints/        last.safetensors: everything that exact resumption needs
previews/           the same held-out frames at each checkpoint, as JPEG; preview.jpg is the newest
model.safetensors   the trained weights; subject.json holds everything else that rendering needs to know
track.npz           poses, torso motion, eyes and brows of the footage, for rendering without the dataset; exposure, and the frames that
                    may be shown
footage.mp4         the footage, to be shown with rendered lips; the same file as the dataset's
background.png      the clean plate at the run's size
result.json         written last: if it exists, training has ended
evaluation.json     figures; report.html, contact_sheet.png and side_by_side.mp4 belong to it
views.jpg           a sheet of pictures of the subject from other directions
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adnerf_core.errors import DiskFull, NotReady


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """Yields a path in the same folder as `path` (which is created), with the same suffix; the file is removed in the end.

    Raises:
        DiskFull: if the disk has no space left, for anything that the block writes.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"No space left to write {path.name}.") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path; the file is renamed to `path` if the block succeeds, and removed if it fails.

    Raises:
        DiskFull: if the disk has no space left.
    """
    with temporary_beside(path) as temporary:
        yield temporary
        os.replace(temporary, path)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as JSON, atomically. Raises DiskFull."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Reads JSON. Raises NotReady if the file is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise NotReady(
            f"{path} is missing or damaged ({error}).",
            "Run the step that writes it again; if the file is damaged, delete it first.",
        ) from error


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """Makes `target` a hard link to `source`, or a copy where there can be none (another file system), atomically. Raises DiskFull."""
    with atomic(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


class RunDir:
    """The file names inside one run directory. Creating a RunDir creates no file or folder."""

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
        self.footage = self.root / "footage.mp4"
        self.result = self.root / "result.json"
        self.evaluation = self.root / "evaluation.json"
        self.report = self.root / "report.html"
        self.contact_sheet = self.root / "contact_sheet.png"
        self.side_by_side = self.root / "side_by_side.mp4"
        self.views = self.root / "views.jpg"

    @property
    def done(self) -> bool:
        """Whether training has ended successfully."""
        return self.result.exists()

    @property
    def dataset(self) -> Path:
        """The folder of the dataset that the run is trained on. Raises NotReady if there is no run."""
        return Path(read_json(self.manifest)["dataset"])

    def read_metrics(self) -> list[dict[str, Any]]:
        """Reads the lines of metrics.jsonl; none if there is no such file."""
        return [json.loads(line) for line in self.metrics.read_text().splitlines()] if self.metrics.exists() else []

    def lip_prior(self) -> str | None:
        """Returns the name of the learnt prior of lips that the audio encoders started from; None for the shipped one, or none."""
        used = [line.get("lip_prior") for line in self.read_metrics() if line.get("phase") == "audio"]
        return used[-1] if used else None  # the stage may have been begun before, and interrupted

    def append_metrics(self, **values: Any) -> None:
        """Appends a line to metrics.jsonl."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.metrics.open("a") as file:
            file.write(json.dumps(values) + "\n")
