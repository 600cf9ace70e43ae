"""The storm: kills processes and servers at random while clients send requests, and checks every promise afterwards."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.chaos.clients import Crowd, Ledger
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.service import RESTART_S, TIMEOUT_S, Servers, Service, answers
from storage.database.models import Job

SHARES = {"worker": 0.25, "worker process": 0.2, "api": 0.2, "beat": 0.1, "redis": 0.12, "postgresql": 0.13}
"""Relative frequency of each target. `worker` is the main process of Celery, in half of the cases with all its children; `worker
process` is the child that runs the job. Only workers that run a job are killed."""
WORKERS = {"worker-1": "a", "worker-2": "a", "worker-3": "b"}
"""The workers, and the machine (the data folder) of each."""
SUBJECT = {"steps": 30, "pause": 0.1, "train": {"steps": 60, "pause": 0.1}}
AUDIO = {"steps": 30, "pause": 0.1, "pad": "a" * 50_000}
"""Orders for the stub core: jobs of 3 to 6 s, so that most kills hit one, and videos of 50 kB."""
END_STATES = ("succeeded", "failed", "cancelled")


class Interrupted(NamedTuple):
    """A job whose process was killed: target of the kill, Unix time, job and attempt."""

    target: str
    moment: float
    job_id: str
    attempt: int


@dataclass
class Killer:
    """Kills parts of a service at random and records the consequences."""

    service: Service
    url: str
    random: random.Random
    kills: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SHARES, 0))
    interrupted: list[Interrupted] = field(default_factory=list)
    outages_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in SHARES})
    """Seconds from each kill of a target until the API reports that the service is ready."""
    recovering: dict[str, threading.Thread] = field(default_factory=dict)
    """Threads that wait for the recovery of a target."""

    def kill_one(self) -> None:
        """Kills a random target that is up. Kills nothing if the chosen worker is idle."""
        shares = {name: share for name, share in SHARES.items() if not self._is_recovering(name)}
        target = self.random.choices(list(shares), list(shares.values()))[0]
        if target.startswith("worker"):
            self._kill_worker(target)
        else:
            self._kill_part(target)

    def wait_for_recovery(self) -> None:
        """Waits until all killed targets have recovered."""
        for thread in self.recovering.values():
            thread.join()

    def _is_recovering(self, target: str) -> bool:
        return target in self.recovering and self.recovering[target].is_alive()

    def _kill_worker(self, target: str) -> None:
        running = [] if self._is_recovering("postgresql") else self.service.jobs(Job.state == "running")
        program = self.service.programs[self.random.choice(list(WORKERS))]
        victims = [job for job in running if program.owns(claimer(job))]
        if not victims:  # it is idle, or not up yet
            return
        if target == "worker":
            program.kill(whole=self.random.random() < 0.5)
        else:
            os.kill(claimer(victims[0]), signal.SIGKILL)
        self.kills[target] += 1
        self.interrupted += [Interrupted(target, time.time(), job.id, job.attempt) for job in victims]

    def _kill_part(self, target: str) -> None:
        server = {"redis": self.service.backends.redis, "postgresql": self.service.backends.postgresql}.get(target)
        killed_at = time.time()
        (server or self.service.programs[target]).kill()
        self.kills[target] += 1

        def wait() -> None:
            if server is not None:
                time.sleep(RESTART_S)
                server.start()
            elif target == "beat":
                heartbeat = self.service.folder / "a" / "beat"
                self.service.until(lambda: heartbeat.exists() and heartbeat.stat().st_mtime > killed_at)
            self.service.until(lambda: answers(self.url))
            self.outages_s[target].append(time.time() - killed_at)

        self.recovering[target] = threading.Thread(target=wait, name=f"recovery of {target}")
        self.recovering[target].start()


def claimer(job: Job) -> int:
    """Returns the id of the process that runs the job."""
    return int(job.worker.split("-")[-2])


def storm(
    backends: Servers,
    folder: Path,
    *,
    kills: int,
    pause_s: tuple[float, float],
    limit_s: float,
    clients: int = 4,
    seed: int = 1,
    subject: dict[str, Any] = SUBJECT,
    audio: dict[str, Any] = AUDIO,
    **settings: Any,
) -> Outcome:
    """Kills parts of the service while clients use it, waits until all jobs have ended, and checks the promises.

    Args:
        backends: the servers, which are killed too.
        folder: for all files of the service.
        kills: number of kills.
        pause_s: shortest and longest pause between two kills, seconds.
        limit_s: longest duration of the kills, seconds.
        clients: number of parallel clients.
        seed: of the kills.
        subject, audio: orders for the stub core.
        settings: settings of the service that differ from the defaults.
    """
    service = Service(backends, folder, **settings)
    crowd = None
    try:
        url = service.api()
        service.beat()
        for name, machine in WORKERS.items():
            service.worker(name, machine=machine)
        crowd = Crowd(url, clients, subject=subject, audio=audio, videos=3)
        service.until(lambda: service.jobs(Job.state == "running"))
        killer = Killer(service, url, random.Random(seed))
        start = time.monotonic()
        while sum(killer.kills.values()) < kills and time.monotonic() - start < limit_s:
            killer.kill_one()
            time.sleep(killer.random.uniform(*pause_s))
        duration = time.monotonic() - start
        killer.wait_for_recovery()
        with suppress(TimeoutError):  # a short storm can be over before any subject is ready
            service.until(lambda: crowd.ledger.counts["files"])
        crowd.stop()
        figures = {"seconds": round(duration), "seconds_until_all_had_ended": round(wait_for_all(service))}
        return check_promises(service, killer, crowd, figures)
    finally:
        if crowd is not None:
            crowd.close()
        service.close()


def wait_for_all(service: Service) -> float:
    """Waits until no job is queued or running; returns the seconds. Jobs that do not end in time are found by `audit`."""
    start = time.monotonic()
    with suppress(TimeoutError):
        service.until(lambda: not service.jobs(Job.state.not_in(END_STATES)), seconds=2 * TIMEOUT_S)
    return time.monotonic() - start


def check_promises(service: Service, killer: Killer, crowd: Crowd, figures: dict[str, Any]) -> Outcome:
    """Checks all promises against the database, the files and the journal."""
    outcome = Outcome("storm", {"kills": sum(killer.kills.values()), "kills_by_part": killer.kills} | figures)
    ledger = crowd.ledger
    downloads = crowd.fetch_all()
    rows = {job.id: job for job in service.jobs()}
    audit(outcome, service, rows, ledger)
    ready = [job for job in rows.values() if job.kind == "render" and job.state == "succeeded"]
    outcome.figures |= {
        "files_served": ledger.counts["files"],
        "damaged_files_served": len(ledger.damaged),
        "answers": ledger.counts["answered"],
        "answers_5xx": ledger.counts["refused"],
        "requests_broken_off": ledger.counts["broken"],
        "recovery_s": spread(recoveries(service, killer)),
        "recovery_s_by_kill": {
            target: spread(recoveries(service, killer, target)) for target in SHARES if target.startswith("worker")
        },
        "away_s": {target: spread(seconds) for target, seconds in killer.outages_s.items() if seconds},
        "work": repeated(service),
    }
    outcome.check(not ledger.damaged, f"damaged: {ledger.damaged[:3]}")
    promised_ready = sum(job.id in ledger.promised for job in ready)
    missing = promised_ready - downloads
    outcome.check(missing <= 0, f"{missing} videos that are ready were not served")
    outcome.check(downloads > 0, "no video was made")
    return outcome


def audit(outcome: Outcome, service: Service, rows: dict[str, Job], ledger: Ledger) -> None:
    """Checks whether every job of a 202 response has ended exactly once, and every failed one with an error."""
    states = {job_id: rows[job_id].state for job_id in ledger.promised if job_id in rows}
    lost = [job_id for job_id in ledger.promised if states.get(job_id) not in END_STATES]
    subjects_with_training = {job.subject_id for job in rows.values() if job.kind == "train"}
    preprocessed = [job for job in rows.values() if job.kind == "preprocess" and job.state == "succeeded"]
    lost += [f"training of {job.subject_id}" for job in preprocessed if job.subject_id not in subjects_with_training]
    lost += [job.id for job in rows.values() if job.state not in END_STATES and job.id not in ledger.promised]
    failed = [job for job in rows.values() if job.state == "failed"]
    succeeded = [job for job in rows.values() if job.state == "succeeded"]
    published = service.moves("succeed")
    outcome.figures |= {
        "answered_202": len(ledger.promised),
        "answered_202_by_kind": dict(Counter(ledger.promised.values())),
        "jobs": len(rows),
        "finished": len(succeeded),
        "failed_with_reason": dict(Counter(job.error["code"] for job in failed if job.error)),
        "lost": len(lost),
        "published_twice": published - len(succeeded),
        "jobs_with_several_attempts": sum(job.attempt > 1 for job in rows.values()),
    }
    outcome.check(not lost, f"lost: {lost[:5]}")
    outcome.check(published == len(succeeded), f"{published} results for {len(succeeded)} jobs")
    outcome.check(all(job.error for job in failed), "a job failed without a reason")


def recoveries(service: Service, killer: Killer, target: str | None = None) -> list[float]:
    """Returns the seconds from each kill of a worker until the next attempt of its job, without jobs that had no other attempt."""
    starts: dict[str, list[tuple[int, float]]] = {}
    for step in service.steps():
        attempts = starts.setdefault(step.job_id, [])
        if not attempts or attempts[-1][0] < step.attempt:
            attempts.append((step.attempt, step.moment))
    seconds = []
    for kill in killer.interrupted:
        if target in (None, kill.target):
            later = [moment for attempt, moment in starts.get(kill.job_id, []) if attempt > kill.attempt]
            seconds += [later[0] - kill.moment] if later else []
    return seconds


def repeated(service: Service) -> dict[str, Any]:
    """Returns the number of steps and of repeated steps, and the share of repeated ones in the first stage of each kind of job."""
    times = Counter((step.job_id, step.stage, step.number) for step in service.steps())
    figures: dict[str, Any] = {"steps": times.total(), "again": times.total() - len(times)}
    figures["share"] = round(figures["again"] / max(1, figures["steps"]), 4)
    for stage_name in ("track", "head", "render"):
        of_stage = [count for (_, name, _), count in times.items() if name == stage_name]
        figures[f"share_{stage_name}"] = round((sum(of_stage) - len(of_stage)) / max(1, sum(of_stage)), 4)
    return figures
