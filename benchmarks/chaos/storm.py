"""The storm: injects faults at random while clients send requests, and checks every promise afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import Interrupted, all_counted, blameless
from benchmarks.chaos.clients import Crowd, Ledger
from benchmarks.chaos.faults import WORKERS, Injector
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.service import TIMEOUT_S, Servers, Service
from storage import object_places
from storage.database.models import Job

SUBJECT = {"steps": 30, "pause": 0.1, "train": {"steps": 60, "pause": 0.1}}
AUDIO = {"steps": 30, "pause": 0.1, "pad": "a" * 50_000}
"""Orders for the stub core: jobs of 3 to 6 s, so that most kills hit one, and videos of 50 kB."""
END_STATES = ("succeeded", "failed", "cancelled")


def storm(
    backends: Servers,
    folder: Path,
    *,
    faults: int,
    pause_s: tuple[float, float],
    limit_s: float,
    freeze_s: tuple[float, float] = (1.0, 8.0),
    clients: int = 4,
    seed: int = 1,
    subject: dict[str, Any] = SUBJECT,
    audio: dict[str, Any] = AUDIO,
    **settings: Any,
) -> Outcome:
    """Injects faults of every kind while clients use the service, waits until all jobs have ended, and checks the promises.

    Args:
        backends: the servers, which are hit too.
        folder: for all files of the service.
        faults: number of faults.
        pause_s: shortest and longest pause between two faults, seconds.
        limit_s: longest duration of all faults, seconds.
        freeze_s: shortest and longest time for which a part is frozen or a clock is wrong, seconds.
        clients: number of parallel clients.
        seed: of the faults.
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
        injector = Injector(service, url, random.Random(seed), freeze_s)
        start = time.monotonic()
        while sum(injector.faults.values()) < faults and time.monotonic() - start < limit_s:
            injector.inject_one()
            time.sleep(injector.random.uniform(*pause_s))
        duration = time.monotonic() - start
        injector.wait_for_recovery()
        with suppress(TimeoutError):  # a short storm can be over before any subject is ready
            service.until(lambda: crowd.ledger.counts["files"])
        crowd.stop()
        figures = {"seconds": round(duration), "seconds_until_all_had_ended": round(wait_for_all(service))}
        return check_promises(service, injector, crowd, figures)
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


def check_promises(service: Service, injector: Injector, crowd: Crowd, figures: dict[str, Any]) -> Outcome:
    """Checks all promises against the database, the files and the journal."""
    outcome = Outcome("storm", {"faults": sum(injector.faults.values()), "faults_by_kind": injector.faults} | figures)
    ledger = crowd.ledger
    downloads = crowd.fetch_all()
    rows = {job.id: job for job in service.jobs()}
    audit(outcome, service, rows, ledger)
    check_attempts(outcome, service, rows, injector.interrupted)
    check_objects(outcome, service)
    ready = [job for job in rows.values() if job.kind == "render" and job.state == "succeeded"]
    outcome.figures |= {
        "files_served": ledger.counts["files"],
        "damaged_files_served": len(ledger.damaged),
        "answers": ledger.counts["answered"],
        "answers_5xx": ledger.counts["refused"],
        "requests_broken_off": ledger.counts["broken"],
        "recovery_s": spread(recoveries(service, injector.interrupted)),
        "recovery_s_by_fault": {
            fault: spread(recoveries(service, injector.interrupted, fault))
            for fault in ("kill worker", "kill worker process", "freeze worker")
        },
        "away_s": {fault: spread(seconds) for fault, seconds in injector.outages_s.items() if seconds},
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


def check_attempts(
    outcome: Outcome, service: Service, job_ids: Iterable[str], interrupted: Sequence[Interrupted]
) -> None:
    """Checks that no attempt was counted for anything but a fault that hit the process of the job."""
    counted = all_counted(service, job_ids)
    unjust = blameless(counted, interrupted)
    outcome.figures |= {"attempts_counted": len(counted), "attempts_counted_without_fault_of_the_job": len(unjust)}
    outcome.check(not unjust, f"attempts counted that were not the job's fault: {unjust[:5]}")


def check_objects(outcome: Outcome, service: Service) -> None:
    """Checks that every object that a row names is in the store: the files of the store tell."""
    with service.database.session(write=False) as session:
        named = object_places.named_keys(session)
    erased = sorted(key for key in named if not (service.objects / key).is_file())
    outcome.figures |= {"objects_named": len(named), "erased": len(erased)}
    outcome.check(not erased, f"erased: {erased[:5]}")


def recoveries(service: Service, interrupted: Iterable[Interrupted], fault: str | None = None) -> list[float]:
    """Returns the seconds from each fault of a worker until the next attempt of its job, without jobs that had no other attempt."""
    starts: dict[str, list[tuple[int, float]]] = {}
    for step in service.steps():
        attempts = starts.setdefault(step.job_id, [])
        if not attempts or attempts[-1][0] < step.attempt:
            attempts.append((step.attempt, step.moment))
    seconds = []
    for one in interrupted:
        if fault in (None, one.fault):
            later = [moment for attempt, moment in starts.get(one.job_id, []) if attempt > one.attempt]
            seconds += [later[0] - one.moment] if later else []
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
