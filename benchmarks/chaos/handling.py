"""How workers are handled: cancelled jobs, told to stop, poisoned."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.chaos.clients import staged
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.stage import Servers, Stage
from storage.database.models import Job
from storage.tables.jobs import MAX_ATTEMPTS

ENDLESS = {"steps": 100_000, "pause": 0.05}


def cancels(on: Servers, folder: Path, *, count: int, within_s: float, **settings: Any) -> Outcome:
    """From the request until the worker works on the next job; 95 of 100 shall be `within_s`."""
    outcome = Outcome("cancel")
    seconds = []
    with staged(on, folder, **settings) as (stage, client):
        stage.worker("worker")
        owners = [stage.until(lambda: client.subject(**ENDLESS)) for _ in range(count + 1)]
        jobs = [owner["jobs"][0]["id"] for owner in owners]
        for job_id, after in pairwise(jobs):
            stage.until(lambda job_id=job_id: stage.steps(job_id))
            asked = time.time()
            outcome.hold(client.cancel(job_id), "a running job could not be cancelled")
            seconds.append(stage.until(lambda after=after: stage.steps(after))[0].moment - asked)
        states = [job.state for job in stage.jobs(Job.id.in_(jobs[:-1]))]
    outcome.figures = {"seconds_until_the_worker_is_free": spread(seconds)}
    p95 = outcome.figures["seconds_until_the_worker_is_free"]["p95"]
    outcome.hold(p95 < within_s, f"a worker was free only {p95} s after a cancel")
    outcome.hold(states == ["cancelled"] * count, "a cancelled job did not stay so")
    return outcome


def hand_overs(on: Servers, folder: Path, *, count: int, within_s: float, **settings: Any) -> Outcome:
    """SIGTERM to the worker that trains: it ends `within_s`, its attempt is not counted, another goes on from its checkpoint."""
    outcome = Outcome("SIGTERM")
    ends, handed = [], []
    with staged(on, folder, **settings) as (stage, client):
        stage.worker("worker-0", machine="0")
        subject = stage.until(lambda: client.subject(steps=1, train=ENDLESS))
        (job,) = stage.until(lambda: stage.jobs(Job.subject_id == subject["id"], Job.kind == "train"))
        for number in range(count):
            stage.worker(f"worker-{number + 1}", machine=str(number + 1))
            stage.until(lambda number=number: is_ready(stage, f"worker-{number + 1}"))
            stage.until(lambda number=number: stage.steps(job.id, attempt=number + 1))
            asked = time.time()
            ends.append(stage.end(f"worker-{number}"))
            step = stage.until(lambda number=number: stage.steps(job.id, attempt=number + 2))[0]
            handed.append(step.moment - asked)
        given = stage.job(job.id)
        made = [step.number for step in stage.steps(job.id)]
    outcome.figures = {
        "seconds_until_it_has_ended": spread(ends),
        "seconds_until_another_works": spread(handed),
        "attempts_counted": given.attempt - (given.max_attempts - MAX_ATTEMPTS) - 1,
        "steps": len(made),
        "steps_again": len(made) - len(set(made)),
    }
    outcome.hold(max(ends) < within_s, f"a worker took {max(ends):.0f} s to end")
    outcome.hold(outcome.figures["attempts_counted"] == 0, "an attempt was counted")
    outcome.hold(outcome.figures["steps_again"] <= count, "more was made again than the step that was begun")
    return outcome


def poison(on: Servers, folder: Path, **settings: Any) -> Outcome:
    """A job that kills its worker process: it is given up after three, and what else is queued is done."""
    outcome = Outcome("poison")
    with staged(on, folder, **settings) as (stage, client):
        stage.worker("worker")
        begun = time.monotonic()
        bad = stage.until(lambda: client.subject(steps=3, at={"1": "kill"}))
        good = stage.until(lambda: client.subject(steps=3, train={"steps": 3}))
        (job,) = stage.until(lambda: stage.jobs(Job.subject_id == bad["id"], Job.state == "failed"))
        seconds = time.monotonic() - begun
        stage.until(lambda: client.read(f"/v1/subjects/{good['id']}")["state"] == "ready")
        killed = len({step.pid for step in stage.steps(job.id)})
    outcome.figures = {
        "workers_killed": killed,
        "attempts": job.attempt,
        "code": job.error["code"],
        "seconds_until_given_up": round(seconds, 1),
    }
    outcome.hold(killed == job.attempt == MAX_ATTEMPTS, f"it killed {killed} workers")
    outcome.hold(job.error["code"] == "worker_lost", "it does not say why")
    return outcome


def is_ready(stage: Stage, name: str) -> bool:
    """Whether the worker of this name has said that it is there."""
    return any("is ready for" in line for line in stage.lines(name))
