"""Progress: the one callback that the core makes outward."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class Cancelled(Exception):
    """Raised by a Progress to stop the work. What stands is kept (a training writes a checkpoint first)."""


@runtime_checkable
@runtime_checkable
class Progress(Protocol):
    """Called often (several times a second at most matters to anyone; the callee throttles).

    `stage` is a short stable word ("track", "head", "render"), `done` and `total` count in units of that stage.
    It may raise Cancelled; the core lets it through after tidying up.
    """

    def __call__(self, stage: str, done: float, total: float) -> None: ...


def silent(stage: str, done: float, total: float) -> None:
    """The Progress of a caller who does not want to know."""


STAGE_WEIGHTS: dict[str, dict[str, float]] = {
    "preprocess": {
        "survey": 0.09,
        "track": 0.22,
        "pose": 0.06,
        "align": 0.20,
        "parse": 0.32,
        "torso": 0.06,
        "plate": 0.05,
    },
    "train": {"audio": 0.04, "head": 0.66, "torso": 0.21, "evaluate": 0.08, "views": 0.01},
    "render": {"render": 1.0},
}
"""Share of the time that each stage of a job's kind takes, in their order, for a true overall progress."""
