"""The progress callback of the core, and the time that each stage of a job takes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


class Cancelled(Exception):
    """Raised by a Progress to stop the work; finished work is kept (training writes a checkpoint first)."""


@runtime_checkable
class Progress(Protocol):
    """Receives the progress of the work. It is called frequently; implementations should rate-limit."""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Reports that `done` of `total` units of a stage are finished.

        Args:
            stage: Stable name of the stage, such as "track", "head" or "render" (the keys of STAGE_WEIGHTS).
            done: Finished units; the unit is the stage's own (frames, steps, seconds).
            total: Units of the whole stage.

        Raises:
            Cancelled: To stop the work. The core cleans up and passes the exception on.
        """
        ...


def silent(stage: str, done: float, total: float) -> None:
    """A Progress that ignores every report."""


STAGE_WEIGHTS: dict[str, dict[str, float]] = {
    "preprocess": {
        "survey": 0.09,
        "track": 0.22,
        "pose": 0.06,
        "parse": 0.32,
        "align": 0.20,
        "torso": 0.06,
        "plate": 0.05,
    },
    "train": {"audio": 0.04, "head": 0.66, "torso": 0.21, "evaluate": 0.08, "views": 0.01},
    "render": {"render": 1.0},
}
"""Share of a job's time that each of its stages takes, by kind of job, in the order of the stages; each kind sums to 1.

The shares are estimates that turn the progress of one stage into the progress of the whole job, and only have to be roughly right.
"""
