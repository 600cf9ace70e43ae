"""What the commands print: results on stdout, as text or as one JSON document; progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from adnerf_client.errors import AdnerfError
from adnerf_client.models import Job

LOG_WIDTH = 200
"""Columns if stderr is not a terminal: wide enough that no progress line breaks in a log."""


class Output:
    """Prints the results, messages, progress and errors of one command."""

    def __init__(self, *, as_json: bool):
        self.as_json = as_json
        self._err = Console(
            stderr=True, width=None if sys.stderr.isatty() else LOG_WIDTH, markup=False, highlight=False
        )

    def say(self, text: str) -> None:
        """Prints a message to stderr."""
        self._err.print(text, soft_wrap=True)

    def show(self, resource: BaseModel) -> None:
        """Prints one resource: every field that has a value."""
        if self.as_json:
            self._print_json(resource.model_dump(mode="json"))
        else:
            _print_aligned(list(_flatten(resource.model_dump(mode="json"))))

    def show_list(self, resources: Iterable[BaseModel], columns: Mapping[str, Callable[[Any], object]]) -> None:
        """Prints a table with one row per resource; `columns` maps a heading to the function that gives its cells."""
        if self.as_json:
            self._print_json([each.model_dump(mode="json") for each in resources])
            return
        rows = [[str(cell(each)) for cell in columns.values()] for each in resources]
        _print_aligned([list(columns), *rows])

    def done(self, text: str, **values: object) -> None:
        """Prints the result of a command that has no resource to show: `text`, or `values` as JSON."""
        if self.as_json:
            self._print_json(values)
        else:
            print(text, flush=True)

    def fail(self, error: AdnerfError) -> None:
        """Prints an error and its remedy."""
        if self.as_json:
            fields = {"code": error.code, "detail": error.detail, "remedy": error.remedy, "status": error.status}
            self._print_json({"error": fields})
        self.say(f"adnerf: {error} ({error.code})")

    @contextmanager
    def progress(self) -> Iterator[ProgressDisplay]:
        """Shows the progress of transfers and jobs: bars on a terminal, else occasional lines."""
        if not self._err.is_terminal:
            yield ProgressLines(self._err)
            return
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(30),
            TaskProgressColumn(),
            TextColumn("{task.fields[eta]}"),
        )
        with Progress(*columns, console=self._err) as bars:
            yield ProgressBars(bars)

    def _print_json(self, value: object) -> None:
        print(json.dumps(value, ensure_ascii=False, indent=2), flush=True)


class ProgressDisplay(ABC):
    """Shows the progress of transfers and jobs."""

    def transfer(self, name: str) -> Callable[[int, int], None]:
        """Makes the progress callback (bytes done, total bytes) of a transfer."""
        return lambda done, total: self._update(name, name, done / max(total, 1), "")

    def job(self, job: Job) -> None:
        """Shows the state of a job."""
        self._update(job.id, describe(job), job.progress, time_left(job))

    @abstractmethod
    def _update(self, key: str, text: str, fraction: float, eta: str) -> None:
        """Shows that `fraction` (0 to 1) of the task `key` is done."""


class ProgressBars(ProgressDisplay):
    """A bar for each transfer and job."""

    def __init__(self, bars: Progress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def _update(self, key: str, text: str, fraction: float, eta: str) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(text, total=1.0, eta="")
        self._bars.update(self._tasks[key], description=text, completed=fraction, eta=eta)


class ProgressLines(ProgressDisplay):
    """A line whenever the text changes or a further tenth is done."""

    def __init__(self, console: Console):
        self._console = console
        self._last: dict[str, tuple[str, int]] = {}

    def _update(self, key: str, text: str, fraction: float, eta: str) -> None:
        step = (text, int(fraction * 10))
        if self._last.get(key) != step:
            self._last[key] = step
            self._console.print(f"{text} {fraction:.0%} {eta}".rstrip(), soft_wrap=True)


def describe(job: Job) -> str:
    """Describes in a few words what a job is doing."""
    if job.state == "queued":
        return f"{job.kind} (place {job.queue_position} in the queue)" if job.queue_position else f"{job.kind} (queued)"
    if job.state == "running":
        return f"{job.kind}: {job.stage}" if job.stage else job.kind
    return job.kind if job.state == "succeeded" else f"{job.kind} ({job.state})"


def time_left(job: Job) -> str:
    """Formats the estimated time that a running job still takes; empty if there is no estimate."""
    if job.state != "running" or job.eta_s is None:
        return ""
    minutes, seconds = divmod(round(job.eta_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours}:{minutes:02}:{seconds:02} left" if hours else f"about {minutes}:{seconds:02} left"


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows in aligned columns. No cell is shortened to fit the terminal, so that ids can be copied."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yields each value as (dotted name, text), and a job as one line; leaves out links and None."""
    for name, value in values.items():
        if name == "links":
            continue
        elif name == "jobs" or name == "job":
            for job in value if name == "jobs" else [value]:
                model = Job.model_validate(job)
                yield name, f"{model.id}  {describe(model)}  {model.progress:.0%} {time_left(model)}".rstrip()
        elif isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(_format_item(each) for each in value) or "none"
        elif value is not None:
            yield prefix + name, f"{value:.4g}" if isinstance(value, float) else str(value)


def _format_item(value: Any) -> str:
    return ": ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
