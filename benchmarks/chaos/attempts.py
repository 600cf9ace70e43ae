"""Which attempts were counted against a job (storage/tables/jobs.py, MAX_ATTEMPTS), and whether it was the job's fault.

A job may have killed or blocked the process that ran it. So exactly two kinds of faults may count as an attempt: the process that
runs the job is killed, or it is stopped (SIGSTOP) until its watchdog or its lease notices. Everything else must not: a store,
database or broker that is away, a killed or stopped API or beat, a shorter stop, a machine that sleeps, a clock that leaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from benchmarks.chaos.service import Service


class Interrupted(NamedTuple):
    """A job whose process was killed or stopped: kind of the fault, monotonic time, job and attempt."""

    fault: str
    moment: float
    job_id: str
    attempt: int


def counted(events: Sequence[dict[str, Any]]) -> list[int]:
    """Returns the attempts that were counted, from the recorded changes of a job, oldest first.

    An attempt that does not count raises `max_attempts`.
    """
    attempts = []
    for before, after in pairwise(events):
        returned = after["state"] == "queued" and after["max_attempts"] == before["max_attempts"]
        gave_up = after["state"] == "failed" and (after["error"] or {}).get("code") == "worker_lost"
        if before["state"] == "running" and (returned or gave_up):
            attempts.append(before["attempt"])
    return attempts


def all_counted(service: Service, job_ids: Iterable[str]) -> set[tuple[str, int]]:
    """Returns job and attempt of every attempt that was counted."""
    return {(job_id, attempt) for job_id in job_ids for attempt in counted(service.events(job_id))}


def blameless(attempts: Iterable[tuple[str, int]], interrupted: Iterable[Interrupted]) -> list[tuple[str, int]]:
    """Returns those of the counted attempts whose process was neither killed nor stopped."""
    return sorted(set(attempts) - {(one.job_id, one.attempt) for one in interrupted})
