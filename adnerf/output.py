"""What the commands show: results on stdout, for people or as one JSON document; progress and errors on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from adnerf_client.errors import AdnerfError
from adnerf_client.models import Job

WIDE = 200
"""Columns where there is no terminal to ask."""


class Screen:
    """Where the commands write."""

    def __init__(self, *, as_json: bool):
        self.as_json = as_json
        self._err = Console(stderr=True, width=None if sys.stderr.isatty() else WIDE, markup=False, highlight=False)

    def say(self, text: str) -> None:
        """A word to the person, never a result."""
        self._err.print(_printable(text), soft_wrap=True)

    def show(self, resource: BaseModel) -> None:
        """One resource: every field that has a value."""
        if self.as_json:
            self._json(resource.model_dump(mode="json"))
            return
        _print_aligned(list(_flat(resource.model_dump(mode="json"))))

    def show_list(self, resources: Iterable[BaseModel], columns: Mapping[str, Callable[[Any], object]]) -> None:
        """Many resources: a row each."""
        if self.as_json:
            self._json([each.model_dump(mode="json") for each in resources])
            return
        rows = [[str(value(each)) for value in columns.values()] for each in resources]
        _print_aligned([list(columns), *rows])

    def done(self, text: str, **values: object) -> None:
        """That something was done which leaves no resource to show."""
        if self.as_json:
            self._json(values)
        else:
            print(_printable(text), flush=True)

    def fail(self, error: AdnerfError) -> None:
        """What went wrong, and what to do about it."""
        told = {"code": error.code, "detail": error.detail, "remedy": error.remedy, "status": error.status}
        if self.as_json:
            self._json({"error": told})
        self.say(f"adnerf: {error} ({error.code})")

    @contextmanager
    def progress(self) -> Iterator[Bars | Lines]:
        """Shows how transfers and jobs get on: bars on a terminal, else a line now and then."""
        if not self._err.is_terminal:
            yield Lines(self._err)
            return
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(30),
            TaskProgressColumn(),
            TextColumn("{task.fields[eta]}"),
        )
        with Progress(*columns, console=self._err) as bars:
            yield Bars(bars)

    def _json(self, value: object) -> None:
        print(_printable(json.dumps(value, ensure_ascii=False, indent=2)), flush=True)


class Bars:
    """A bar for each transfer and job."""

    def __init__(self, bars: Progress):
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def transfer(self, name: str) -> Callable[[int, int], None]:
        """What is to be told of the bytes of a transfer."""
        return lambda done, total: self._set(name, name, done / max(total, 1), "")

    def job(self, job: Job) -> None:
        """A job has changed."""
        self._set(job.id, describe(job), job.progress, time_left(job))

    def _set(self, key: str, text: str, part: float, eta: str) -> None:
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(text, total=1.0, eta="")
        self._bars.update(self._tasks[key], description=text, completed=part, eta=eta)


class Lines:
    """A line for each step of a tenth, and each change of stage."""

    def __init__(self, console: Console):
        self._console = console
        self._last: dict[str, tuple[str, int]] = {}

    def transfer(self, name: str) -> Callable[[int, int], None]:
        """What is to be told of the bytes of a transfer."""
        return lambda done, total: self._set(name, name, done / max(total, 1), "")

    def job(self, job: Job) -> None:
        """A job has changed."""
        self._set(job.id, describe(job), job.progress, time_left(job))

    def _set(self, key: str, text: str, part: float, eta: str) -> None:
        step = (text, int(part * 10))
        if self._last.get(key) != step:
            self._last[key] = step
            self._console.print(f"{text} {part:.0%} {eta}".rstrip(), soft_wrap=True)


def describe(job: Job) -> str:
    """What a job does, in a few words."""
    if job.state == "queued":
        return f"{job.kind} (place {job.queue_position} in the queue)" if job.queue_position else f"{job.kind} (queued)"
    if job.state == "running":
        return f"{job.kind}: {job.stage}" if job.stage else job.kind
    return job.kind if job.state == "succeeded" else f"{job.kind} ({job.state})"


def time_left(job: Job) -> str:
    """How long a running job will take, as far as is known."""
    if job.state != "running" or job.eta_s is None:
        return ""
    minutes, seconds = divmod(round(job.eta_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours}:{minutes:02}:{seconds:02} left" if hours else f"about {minutes}:{seconds:02} left"


def _printable(text: str) -> str:
    """The text with question marks for the bytes of file names that are not UTF-8, which no stream could print."""
    return text.encode(errors="replace").decode()


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    """Rows with their columns below each other. Nothing is cut off to fit a terminal: ids are there to be copied."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()


def _flat(values: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, str]]:
    """The values as (dotted name, text); jobs as a line each; without links and what is None."""
    for name, value in values.items():
        if name == "links":
            continue
        elif name == "jobs" or name == "job":
            for job in value if name == "jobs" else [value]:
                model = Job.model_validate(job)
                yield name, f"{model.id}  {describe(model)}  {model.progress:.0%} {time_left(model)}".rstrip()
        elif isinstance(value, dict):
            yield from _flat(value, f"{inside}{name}.")
        elif isinstance(value, list):
            yield inside + name, ", ".join(_in_words(each) for each in value) or "none"
        elif value is not None:
            yield inside + name, f"{value:.4g}" if isinstance(value, float) else str(value)


def _in_words(value: Any) -> str:
    return ": ".join(map(str, value.values())) if isinstance(value, dict) else str(value)
