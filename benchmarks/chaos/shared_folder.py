"""Two workers that share a data folder, while a client cancels jobs and retries them at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import all_counted
from benchmarks.chaos.clients import Client, running_service
from benchmarks.chaos.core import order
from benchmarks.chaos.faults import claimer
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import Servers, Service
from benchmarks.chaos.storm import check_objects
from storage.database.models import Job

WORK = {"steps": 80, "pause": 0.1}
"""Orders for the stub core: a job of 8 s, which a client can cancel in time even on a busy machine."""


def cancel_and_retry(backends: Servers, folder: Path, *, rounds: int, **settings: Any) -> Outcome:
    """Cancels each job of a subject and its video while it runs, and retries it at once.

    Both workers may then work on one job in one folder: the one that has not noticed the cancel, and the one that has claimed the
    retry. In every second round the first one is stopped (SIGSTOP) until the other one works, so that it continues late.
    """
    outcome = Outcome("cancel and retry with a shared data folder")
    with running_service(backends, folder, **settings) as (service, client):
        service.beat()
        for name in ("worker-1", "worker-2"):
            service.worker(name, machine="shared")
        served = sum(one_round(service, client, freezing=number % 2 == 1) for number in range(rounds))
        jobs = service.jobs()
        outcome.figures = {
            "faults": 3 * rounds + 3 * (rounds // 2),  # the cancelled jobs, and the stops
            "jobs": len(jobs),
            "lost": sum(job.state != "succeeded" for job in jobs),
            "published_twice": service.moves("succeed") - len(jobs),
            "videos_served": served,
            "damaged_files_served": len(client.ledger.damaged),
            "attempts_counted": len(all_counted(service, [job.id for job in jobs])),
        }
        check_objects(outcome, service)
    outcome.check(outcome.figures["lost"] == 0, "a job that was cancelled and retried did not succeed")
    outcome.check(outcome.figures["published_twice"] == 0, "results were published twice")
    outcome.check(served == rounds and not client.ledger.damaged, f"wrong files: {client.ledger.damaged[:3]}")
    outcome.check(outcome.figures["attempts_counted"] == 0, "a cancel was counted as an attempt")
    return outcome


def one_round(service: Service, client: Client, *, freezing: bool) -> bool:
    """Makes a subject and a video, each of whose jobs is cancelled and retried; returns whether the video's file was served."""
    subject = service.until(lambda: client.subject(**WORK, train=WORK))
    interrupt(service, client, subject["jobs"][0]["id"], freezing=freezing)
    (train,) = service.until(lambda: service.jobs(Job.subject_id == subject["id"], Job.kind == "train"))
    interrupt(service, client, train.id, freezing=freezing)
    service.until(lambda: client.read(f"/v1/subjects/{subject['id']}")["state"] == "ready")
    video = service.until(lambda: client.video(subject["id"], **WORK))
    interrupt(service, client, video["job"]["id"], freezing=freezing)
    service.until(lambda: client.read(f"/v1/videos/{video['id']}")["state"] == "ready")
    return client.fetch(video["id"], order(**WORK))


def interrupt(service: Service, client: Client, job_id: str, *, freezing: bool) -> None:
    """Cancels a running job and retries it; with `freezing`, its worker is stopped from before the cancel until the retry runs."""
    service.until(lambda: len(service.steps(job_id, attempt=1)) > 2)
    program = next(program for program in service.programs.values() if program.owns(claimer(service.job(job_id))))
    if freezing:
        program.freeze()
    service.until(lambda: client.cancel(job_id))
    service.until(lambda: client.retry(job_id))
    service.until(lambda: service.steps(job_id, attempt=2))
    program.thaw()
    service.until(lambda: service.job(job_id).state == "succeeded")
