"""Experiments with workers: cancelled jobs, workers that are stopped, and a job that kills its workers."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import all_counted
from benchmarks.chaos.clients import running_service
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.service import Servers, Service
from storage.database.models import Job
from storage.tables.jobs import MAX_ATTEMPTS

ENDLESS = {"steps": 100_000, "pause": 0.05}
"""Orders for the stub core: a job that takes longer than any experiment."""


def cancels(backends: Servers, folder: Path, *, count: int, within_s: float, **settings: Any) -> Outcome:
    """Cancels `count` running jobs; measures the time until the worker runs the next job. Its 95th percentile must be below `within_s`."""
    outcome = Outcome("cancel")
    seconds = []
    with running_service(backends, folder, **settings) as (service, client):
        service.worker("worker")
        subjects = [service.until(lambda: client.subject(**ENDLESS)) for _ in range(count + 1)]
        jobs = [subject["jobs"][0]["id"] for subject in subjects]
        for job_id, next_id in pairwise(jobs):
            service.until(lambda job_id=job_id: service.steps(job_id))
            cancelled_at = time.monotonic()
            outcome.check(client.cancel(job_id), "a running job could not be cancelled")
            step = service.until(lambda next_id=next_id: service.steps(next_id))[0]
            seconds.append(step.moment - cancelled_at)
        states = [job.state for job in service.jobs(Job.id.in_(jobs[:-1]))]
    outcome.figures = {"seconds_until_the_worker_is_free": spread(seconds)}
    p95 = outcome.figures["seconds_until_the_worker_is_free"]["p95"]
    outcome.check(p95 < within_s, f"a worker was free only {p95} s after a cancel")
    outcome.check(states == ["cancelled"] * count, "a cancelled job did not stay cancelled")
    return outcome


def hand_overs(backends: Servers, folder: Path, *, count: int, within_s: float, **settings: Any) -> Outcome:
    """Sends SIGTERM to a training worker, `count` times.

    It must end within `within_s`, its attempt must not be counted, and another worker must continue from its checkpoint.
    """
    outcome = Outcome("SIGTERM")
    end_seconds, hand_over_seconds = [], []
    with running_service(backends, folder, **settings) as (service, client):
        service.worker("worker-0", machine="0")
        subject = service.until(lambda: client.subject(steps=1, train=ENDLESS))
        (job,) = service.until(lambda: service.jobs(Job.subject_id == subject["id"], Job.kind == "train"))
        for number in range(count):
            service.worker(f"worker-{number + 1}", machine=str(number + 1))
            service.until(lambda number=number: is_ready(service, f"worker-{number + 1}"))
            service.until(lambda number=number: service.steps(job.id, attempt=number + 1))
            stopped_at = time.monotonic()
            end_seconds.append(service.end(f"worker-{number}"))
            step = service.until(lambda number=number: service.steps(job.id, attempt=number + 2))[0]
            hand_over_seconds.append(step.moment - stopped_at)
        job = service.job(job.id)
        numbers = [step.number for step in service.steps(job.id)]
    outcome.figures = {
        "seconds_until_it_has_ended": spread(end_seconds),
        "seconds_until_another_works": spread(hand_over_seconds),
        "attempts_counted": job.attempt - (job.max_attempts - MAX_ATTEMPTS) - 1,
        "steps": len(numbers),
        "steps_again": len(numbers) - len(set(numbers)),
    }
    outcome.check(max(end_seconds) < within_s, f"a worker took {max(end_seconds):.0f} s to end")
    outcome.check(outcome.figures["attempts_counted"] == 0, "an attempt was counted")
    outcome.check(outcome.figures["steps_again"] <= count, "more than the interrupted step was repeated")
    return outcome


def poison(backends: Servers, folder: Path, **settings: Any) -> Outcome:
    """Runs a job that kills its worker process: it must fail after MAX_ATTEMPTS processes, and other jobs must still run."""
    outcome = Outcome("poison")
    with running_service(backends, folder, **settings) as (service, client):
        service.worker("worker")
        start = time.monotonic()
        bad = service.until(lambda: client.subject(steps=3, at={"1": "kill"}))
        good = service.until(lambda: client.subject(steps=3, train={"steps": 3}))
        (job,) = service.until(lambda: service.jobs(Job.subject_id == bad["id"], Job.state == "failed"))
        seconds = time.monotonic() - start
        service.until(lambda: client.read(f"/v1/subjects/{good['id']}")["state"] == "ready")
        kills = len({step.pid for step in service.steps(job.id)})
        counted = len(all_counted(service, [job.id]))
    outcome.figures = {
        "workers_killed": kills,
        "attempts": job.attempt,
        "attempts_counted": counted,
        "code": job.error["code"],
        "seconds_until_given_up": round(seconds, 1),
    }
    outcome.check(kills == job.attempt == counted == MAX_ATTEMPTS, f"it killed {kills} workers")
    outcome.check(job.error["code"] == "worker_lost", "its error has another code than worker_lost")
    return outcome


def is_ready(service: Service, name: str) -> bool:
    """Returns whether the worker `name` has logged that it is ready."""
    return any("is ready for" in line for line in service.lines(name))
