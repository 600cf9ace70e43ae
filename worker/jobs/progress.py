"""ProgressEstimator: one true progress for a whole job, and the time to go, from the core's reports stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from storage.tables.jobs import JobProgress

TRUSTED_PART = 0.02
"""Part of a job (or of a stage) that must have been seen done before its pace is believed."""
TRUSTED_S = 2.0
"""And for how long it must have been seen."""


class ProgressEstimator:
    """Turns (stage, done, total) into a JobProgress.

    `weights` are the stages of a job in their order with the time each is expected to take, in any unit: they place the
    stages within 0..1. The time to go is measured: what is left of this stage at this stage's own pace, the later ones
    at the pace of everything seen so far. What stood before this attempt counts as progress, but not as pace.
    """

    def __init__(self, weights: Mapping[str, float], clock: Callable[[], float] = time.monotonic):
        self.weights = dict(weights)
        self.whole = sum(self.weights.values())
        self.clock = clock
        self.job_pace: _Rate | None = None
        self.stage_pace: _Rate | None = None
        self.standing = JobProgress()
        self.seconds: dict[str, float] = {}
        """How long each stage has taken until now, in the order in which they began."""
        self._told_at = 0.0

    def report(self, stage: str, done: float, total: float) -> JobProgress:
        """`done` of `total` units of `stage` are done. A stage without a weight is named, and counts for nothing."""
        moment = self.clock()
        if self.standing.stage is not None:
            self.seconds[self.standing.stage] += moment - self._told_at
        self._told_at = moment
        self.seconds.setdefault(stage, 0.0)
        if stage not in self.weights:
            self.standing = JobProgress(stage, self.standing.progress, self.standing.eta_s)
            return self.standing
        part = min(max(done / total, 0.0), 1.0) if total > 0 else 1.0
        names = list(self.weights)
        before = sum(self.weights[name] for name in names[: names.index(stage)])
        weight = self.weights[stage]
        progress = (before + part * weight) / self.whole
        if self.job_pace is None or progress < self.standing.progress:  # a training that collapsed starts over
            self.job_pace = _Rate(moment, progress)
        if stage != self.standing.stage or part < self.stage_part:
            self.stage_pace = _Rate(moment, part)
        self.stage_part = part
        self.standing = JobProgress(
            stage, progress, self._eta(moment, part, progress, 1 - (before + weight) / self.whole)
        )
        return self.standing

    def _eta(self, moment: float, part: float, progress: float, later: float) -> float | None:
        pace = self.job_pace.seconds_per_unit(moment, progress)
        if pace is None:
            return None
        stage_pace = self.stage_pace.seconds_per_unit(moment, part)
        here = (1 - part) * stage_pace if stage_pace is not None else (1 - progress - later) * pace
        return round(max(0.0, here + later * pace), 1)


class _Rate:
    """How fast something goes from where it was first seen."""

    def __init__(self, since: float, start: float):
        self.since, self.start = since, start

    def seconds_per_unit(self, moment: float, position: float) -> float | None:
        seconds, units = moment - self.since, position - self.start
        return seconds / units if seconds >= TRUSTED_S and units >= TRUSTED_PART else None
