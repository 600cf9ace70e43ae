"""Progress: the one callback that the core makes outward."""

from __future__ import annotations

from typing import Protocol


class Cancelled(Exception):
    """Raised by a Progress to stop the work. What stands is kept (a training writes a checkpoint first)."""


class Progress(Protocol):
    """Called often (several times a second at most matters to anyone; the callee throttles).

    `stage` is a short stable word ("track", "head", "render"), `done` and `total` count in units of that stage.
    It may raise Cancelled; the core lets it through after tidying up.
    """

    def __call__(self, stage: str, done: float, total: float) -> None: ...


def silent(stage: str, done: float, total: float) -> None:
    """The Progress of a caller who does not want to know."""
