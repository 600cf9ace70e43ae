"""The database is replaced by an empty one under a running service, and comes back later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.chaos.attempts import all_counted
from benchmarks.chaos.clients import Client, running_service
from benchmarks.chaos.core import order
from benchmarks.chaos.faults import claimer
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import TEMPLATE, Program, Servers, Service
from benchmarks.chaos.storm import check_objects
from storage.cleanup import GRACE_S
from storage.database.models import Job

WORKERS = ("worker-1", "worker-2")
WORK = {"steps": 5, "pause": 0.05}
LONG = {"steps": 100, "pause": 0.1}
"""Orders for the stub core: short jobs, and one that the replacement interrupts."""


def replaced(backends: Servers, folder: Path, *, subjects: int, rounds: int, **settings: Any) -> Outcome:
    """Replaces the database by an empty one while a job runs; nothing may leave the store, and all must go on with the right one.

    While the empty one is there, all clocks move on by the cleanup's grace period, and the worker that is idle is restarted: it
    begins with a cleanup.
    """
    outcome = Outcome("empty database")
    erased: set[Path] = set()
    with running_service(backends, folder, **settings) as (service, client):
        service.beat()
        for name in WORKERS:
            service.worker(name, machine=name)
        videos = [ready_video(service, client) for _ in range(subjects)]
        for _ in range(rounds):
            running = service.until(lambda: client.subject(**LONG, train=WORK))
            service.until(lambda running=running: len(service.steps(running["jobs"][0]["id"])) > 2)
            before = files(service)
            with_empty_database(service, idle_worker(service, running["jobs"][0]["id"]))
            erased |= before - files(service)
            service.until(lambda running=running: state(client, running["id"]) == "ready")
        videos.append(ready_video(service, client))
        jobs = service.jobs()
        outcome.figures = {
            "faults": rounds,
            "jobs": len(jobs),
            "lost": sum(job.state != "succeeded" for job in jobs),
            "published_twice": service.moves("succeed") - len(jobs),
            "videos_served": sum(client.fetch(video_id, order(**WORK)) for video_id in videos),
            "objects_removed": len(erased),
            "attempts_counted": len(all_counted(service, [job.id for job in jobs])),
        }
        check_objects(outcome, service)
    figures = outcome.figures
    outcome.check(figures["lost"] == 0, "jobs were lost")
    outcome.check(figures["published_twice"] == 0, "results were published twice")
    outcome.check(figures["videos_served"] == len(videos) and not client.ledger.damaged, "a video is not served")
    outcome.check(not erased, f"removed from the store: {sorted(map(str, erased))[:5]}")
    outcome.check(figures["attempts_counted"] == 0, "the replacement was counted as an attempt")
    return outcome


def with_empty_database(service: Service, worker: Program) -> None:
    """Puts an empty database in the place of the service's, lets the restarted worker clean up, and puts the right one back."""
    postgresql, name = service.backends.postgresql, service.database_name
    postgresql.rename(name, f"{name}_right")
    postgresql.create(name, template=TEMPLATE)
    service.backends.clocks.leap(GRACE_S + 60.0)
    refusals = count_refusals(service)
    worker.kill()
    service.until(lambda: count_refusals(service) > refusals)
    postgresql.drop(name)
    postgresql.rename(f"{name}_right", name)


def idle_worker(service: Service, job_id: str) -> Program:
    """Returns the worker that does not run this job."""
    pid = claimer(service.job(job_id))
    return next(service.programs[name] for name in WORKERS if not service.programs[name].owns(pid))


def count_refusals(service: Service) -> int:
    """Returns how often a worker has logged that it cleans nothing; each process does so once per hour at most."""
    return sum("nothing is removed from the object store" in line for line in service.lines("worker-"))


def ready_video(service: Service, client: Client) -> str:
    """Makes a subject and a video of it; returns the video's id once it is ready."""
    subject = service.until(lambda: client.subject(**WORK, train=WORK))
    service.until(lambda: state(client, subject["id"]) == "ready")
    video = service.until(lambda: client.video(subject["id"], **WORK))
    service.until(lambda: service.jobs(Job.video_id == video["id"], Job.state == "succeeded"))
    return video["id"]


def state(client: Client, subject_id: str) -> str | None:
    """Returns the state of a subject; None if the API does not answer or does not know it."""
    return (client.read(f"/v1/subjects/{subject_id}") or {}).get("state")


def files(service: Service) -> set[Path]:
    """Returns the files of all objects in the store."""
    return {path for path in service.objects.rglob("*") if path.is_file()}
