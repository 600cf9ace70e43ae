"""One progress value for a whole job, and the time to go, from the core's reports stage by stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from storage.tables.jobs import JobProgress

MIN_MEASURED_SHARE = 0.02
"""Share of a job (or of a stage) that must have been observed before its rate is used: the first reports of a stage include
loading and compiling, and a rate measured on less jumps by a factor of several."""
MIN_MEASURED_S = 2.0
"""Seconds that must have been observed as well, since a cached stage may report 2 % at once."""


class ProgressEstimator:
    """Turns the core's reports (stage, done, total) into a JobProgress.

    Progress is the share of the expected time: p = (sum of the weights of earlier stages + w * done / total) / sum of weights.
    The time to go is measured: the rest of this stage at this stage's own rate, later stages at the rate of everything observed
    in this attempt. What an earlier attempt has done counts as progress, but not for the rate.

    Args:
        weights: the stages of the job in their order, with the time that each is expected to take, in any unit.
        clock: monotonic seconds; tests replace it.
    """

    def __init__(self, weights: Mapping[str, float], clock: Callable[[], float] = time.monotonic):
        self.weights = dict(weights)
        self.total_weight = sum(self.weights.values())
        self.clock = clock
        self.current = JobProgress()
        self.seconds: dict[str, float] = {}
        """Seconds that each stage has taken so far, in the order in which the stages began."""
        self._job_rate: _Rate | None = None
        self._stage_rate: _Rate | None = None
        self._stage_share = 0.0
        self._reported_at = 0.0

    def report(self, stage: str, done: float, total: float) -> JobProgress:
        """Records that `done` of `total` units of `stage` are done; a stage without a weight does not move the progress."""
        now = self.clock()
        if self.current.stage is not None:
            self.seconds[self.current.stage] += now - self._reported_at
        self._reported_at = now
        self.seconds.setdefault(stage, 0.0)
        if stage not in self.weights:
            self.current = JobProgress(stage, self.current.progress, self.current.eta_s)
            return self.current
        share = min(max(done / total, 0.0), 1.0) if total > 0 else 1.0
        names = list(self.weights)
        earlier = sum(self.weights[name] for name in names[: names.index(stage)])
        weight = self.weights[stage]
        progress = (earlier + share * weight) / self.total_weight
        if self._job_rate is None or progress < self.current.progress:  # a training that collapsed starts over
            self._job_rate = _Rate(now, progress)
        if stage != self.current.stage or share < self._stage_share:
            self._stage_rate = _Rate(now, share)
        self._stage_share = share
        later = 1 - (earlier + weight) / self.total_weight
        self.current = JobProgress(stage, progress, self._eta(now, progress, later))
        return self.current

    def _eta(self, now: float, progress: float, later: float) -> float | None:
        job_rate = self._job_rate.seconds_per_unit(now, progress)
        if job_rate is None:
            return None
        this_stage = (1 - progress - later) * job_rate
        if (stage_rate := self._stage_rate.seconds_per_unit(now, self._stage_share)) is not None:
            this_stage = (1 - self._stage_share) * stage_rate
        return round(max(0.0, this_stage + later * job_rate), 1)


class _Rate:
    """Seconds per unit of progress since the first observation."""

    def __init__(self, since: float, start: float):
        self.since, self.start = since, start

    def seconds_per_unit(self, now: float, position: float) -> float | None:
        """The rate, or None until enough has been observed."""
        seconds, units = now - self.since, position - self.start
        return seconds / units if seconds >= MIN_MEASURED_S and units >= MIN_MEASURED_SHARE else None
