"""Progress bars of the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as rich_progress
from rich.console import Console

from adnerf_core.progress import Progress


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yields a Progress that draws one bar per stage on stderr."""
    bars = rich_progress.Progress(
        rich_progress.TextColumn("{task.description:>10}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, rich_progress.TaskID] = {}

    def progress(stage: str, done: float, total: float) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    with bars:
        yield progress
