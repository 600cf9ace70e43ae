"""Processes that hang as a whole: a worker during a job, the API and beat are stopped (SIGSTOP) for good."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import Interrupted, all_counted, blameless
from benchmarks.chaos.clients import running_service
from benchmarks.chaos.faults import claimer, interrupting
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.service import Servers
from storage.database.models import Job

STEPS, PAUSE_S = 50, 0.1
"""Orders for the stub core: a job of 5 s."""


def hung(backends: Servers, folder: Path, *, count: int, within_s: float, **settings: Any) -> Outcome:
    """Stops a worker, the API and beat at the same time, `count` times: each must be replaced, and the job go on, within `within_s`."""
    outcome = Outcome("hung processes")
    interrupted: list[Interrupted] = []
    replaced_s, continued_s = [], []
    with running_service(backends, folder, **settings) as (service, client):
        service.beat()
        for name in ("worker-1", "worker-2"):
            service.worker(name, machine=name)
        for _ in range(count):
            service.until(lambda: all(service.is_up(name) for name in service.programs))
            subject = service.until(lambda: client.subject(steps=STEPS, pause=PAUSE_S, train={"steps": 3}))
            job_id = subject["jobs"][0]["id"]
            service.until(lambda job_id=job_id: len(service.steps(job_id)) > 3)
            pid = claimer(service.job(job_id))
            worker = next(program for program in service.programs.values() if program.owns(pid))
            programs = [worker, service.programs["api"], service.programs["beat"]]
            processes = [program.process for program in programs]
            stopped_at = time.monotonic()
            with interrupting(service, "freeze worker", worker, interrupted):
                for program in programs:
                    program.freeze()
            service.until(lambda was=processes, now=programs: not set(was) & {program.process for program in now})
            service.until(lambda subject=subject: client.read(f"/v1/subjects/{subject['id']}"))
            replaced_s.append(time.monotonic() - stopped_at)
            service.until(lambda job_id=job_id: service.job(job_id).state == "succeeded")
            continued_s.append(service.steps(job_id, attempt=2)[0].moment - stopped_at)
        service.until(lambda: len(service.jobs(Job.state == "succeeded")) == 2 * count)
        jobs = service.jobs()
        attempts = all_counted(service, [job.id for job in jobs])
    outcome.figures = {
        "faults": 3 * count,
        "lost": sum(job.state != "succeeded" for job in jobs),
        "seconds_until_all_were_replaced": spread(replaced_s),
        "seconds_until_the_job_went_on": spread(continued_s),
        "attempts_counted": len(attempts),
        "attempts_counted_without_fault_of_the_job": len(blameless(attempts, interrupted)),
    }
    slowest = max(replaced_s + continued_s)
    outcome.check(slowest < within_s, f"a hung process was replaced only after {slowest:.0f} s")
    outcome.check(not blameless(attempts, interrupted), "attempts were counted that were not the job's fault")
    outcome.check(len(attempts) == count, f"{len(attempts)} attempts were counted for {count} hung workers")
    return outcome
