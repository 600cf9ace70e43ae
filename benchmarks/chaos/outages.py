"""Faults that are not the fault of any job, one after the other, each while a job runs: no attempt may be counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import counted
from benchmarks.chaos.clients import Client, running_service
from benchmarks.chaos.faults import suspend
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import RESTART_S, Program, Servers, Service
from storage.database.models import Job
from tests.servers import Server

PAUSE_S = 0.1
"""Duration of a step of the jobs."""
HOUR_S = 3600.0


def outages(
    backends: Servers, folder: Path, *, rounds: int, longer_s: float, only: Collection[str] = (), **settings: Any
) -> Outcome:
    """Injects each fault of `faults_of` while a job runs; the job must succeed once, in its first attempt that counts.

    Args:
        rounds: how often each fault is injected.
        longer_s: how much longer than a lease the parts are away.
        only: names of the faults to inject (default: all).
        settings: settings of the service; a short lease keeps the experiment short.
    """
    outcome = Outcome("outages")
    attempts: dict[str, int] = {}
    with running_service(backends, folder, **settings) as (service, client):
        service.beat()
        for name in ("worker-1", "worker-2"):
            service.worker(name, machine=name)
        away_s = service.settings.lease_s + longer_s
        faults = {name: inject for name, inject in faults_of(service, away_s).items() if name in only or not only}
        for _ in range(rounds):
            for name, inject in faults.items():
                job = during(service, client, away_s, inject, ends_inside=name.startswith("store"))
                attempts[name] = attempts.get(name, 0) + len(counted(service.events(job.id)))
        jobs = service.jobs()
        outcome.figures = {
            "faults": rounds * len(faults),
            "away_s": away_s,
            "jobs": len(jobs),
            "lost": sum(job.state != "succeeded" for job in jobs),
            "published_twice": service.moves("succeed") - len(jobs),
            "attempts_counted": sum(attempts.values()),
        }
    outcome.check(outcome.figures["lost"] == 0, "jobs were lost")
    outcome.check(outcome.figures["published_twice"] == 0, "results were published twice")
    guilty = [name for name, count in attempts.items() if count]
    outcome.check(not guilty, f"attempts were counted because of: {', '.join(guilty)}")
    return outcome


def faults_of(service: Service, away_s: float) -> dict[str, Callable[[], object]]:
    """Returns the faults by name; each call injects one and mends it."""
    faults: dict[str, Callable[[], object]] = {}
    for name, server in service.backends.named().items():
        faults[f"{name} killed"] = partial(kill_server, server, away_s)
        faults[f"{name} frozen"] = partial(freeze, server, away_s)
    for name in ("api", "beat"):
        faults[f"{name} killed"] = service.programs[name].kill
        faults[f"{name} frozen"] = partial(freeze, service.programs[name], away_s)
    for name in ("api", "beat", "worker-1", "worker-2"):
        faults[f"clock of {name} ahead"] = partial(leap, service, name, 2 * away_s)
        faults[f"clock of {name} behind"] = partial(leap, service, name, -2 * away_s)
    faults["suspend"] = partial(suspend, service, HOUR_S)
    return faults


def during(service: Service, client: Client, away_s: float, inject: Callable[[], object], *, ends_inside: bool) -> Job:
    """Injects a fault while a job runs, and returns the job once it has ended.

    Args:
        ends_inside: whether the job is to end during the fault, so that it needs the store then; otherwise it ends later.
    """
    steps = round((0.5 if ends_inside else 1.5) * away_s / PAUSE_S)
    subject = service.until(lambda: client.subject(steps=steps, pause=PAUSE_S, train={"steps": 1}))
    job_id = subject["jobs"][0]["id"]
    service.until(lambda: len(service.steps(job_id)) > 3)
    inject()
    service.until(lambda: len(service.jobs(Job.subject_id == subject["id"], Job.state == "succeeded")) == 2)
    return service.job(job_id)


def kill_server(server: Server, away_s: float) -> None:
    """Kills a server, and starts it again later."""
    server.kill()
    time.sleep(away_s)
    server.start()


def freeze(part: Server | Program, away_s: float) -> None:
    """Stops a part for some time."""
    part.freeze()
    time.sleep(away_s)
    part.thaw()


def leap(service: Service, name: str, seconds: float) -> None:
    """Moves the clock of a process, and moves it back after several sweeps and heartbeats."""
    clocks = service.backends.clocks
    clocks.leap(seconds, name)
    time.sleep(3 * max(service.settings.sweep_s, service.settings.beat_s) + RESTART_S)
    clocks.leap(-seconds, name)
