"""Experiments with a broker that loses or repeats messages, and with a network that fails."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from benchmarks.chaos.cable import Cable
from benchmarks.chaos.clients import running_service
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.service import Servers
from benchmarks.chaos.storm import END_STATES, repeated
from storage.database.models import Job, Subject
from storage.database.queries import get
from worker.broker import Broker, make_app


def flush(backends: Servers, folder: Path, *, subjects: int, flushes: int, **settings: Any) -> Outcome:
    """Empties Redis (FLUSHALL) several times while jobs are queued and run: no job may be lost or succeed twice."""
    outcome = Outcome("redis FLUSHALL")
    with running_service(backends, folder, **settings) as (service, client):
        service.beat()
        for name in ("worker-1", "worker-2"):
            service.worker(name)
        work = {"steps": 15, "pause": 0.1}
        for _ in range(subjects):
            service.until(lambda: client.subject(**work, train=work))
        service.until(lambda: service.jobs(Job.state == "running"))
        for _ in range(flushes):
            service.redis.flushall()
            time.sleep(1.0)
        start = time.monotonic()
        service.until(lambda: len(service.jobs(Job.state.in_(END_STATES))) == 2 * subjects)
        jobs = service.jobs()
        outcome.figures = {
            "jobs": len(jobs),
            "flushes": flushes,
            "lost": sum(job.state != "succeeded" for job in jobs),
            "published_twice": service.moves("succeed") - len(jobs),
            "attempts_more_than_one": sum(job.attempt > 1 for job in jobs),
            "seconds_until_all_were_done": round(time.monotonic() - start, 1),
        }
    outcome.check(outcome.figures["lost"] == 0, "jobs were lost with the messages of Redis")
    outcome.check(outcome.figures["published_twice"] == 0, "results were published twice")
    return outcome


def repeats(
    backends: Servers, folder: Path, *, deliveries: int, job_s: float, visibility_s: float, **settings: Any
) -> Outcome:
    """Delivers a message several times, also because the visibility timeout is shorter than the job: one attempt, one result."""
    outcome = Outcome("repeated delivery")
    with running_service(backends, folder, **settings) as (service, client):
        for name in ("worker-1", "worker-2", "worker-3"):
            service.worker(name, visibility_s=visibility_s)
        broker = Broker(make_app(service.settings.broker_url), service.settings)
        subject = service.until(lambda: client.subject(steps=round(job_s / 0.1), pause=0.1, train={"steps": 3}))
        for _ in range(deliveries - 1):  # the first one was sent with the job
            broker.send("preprocess")
        service.until(
            lambda: service.jobs(Job.subject_id == subject["id"], Job.kind == "train", Job.state == "succeeded")
        )
        jobs = service.jobs()
        received = sum("adnerf.wake" in line and "received" in line for line in service.lines("worker-"))
        outcome.figures = {
            "deliveries": received,
            "job_s": job_s,
            "visibility_timeout_s": visibility_s,
            "attempts": max(job.attempt for job in jobs),
            "results": service.moves("succeed"),
            "jobs": len(jobs),
            "steps_again": repeated(service)["again"],
        }
    figures = outcome.figures
    outcome.check(figures["attempts"] == 1, "a repeated message led to a second attempt")
    outcome.check(figures["results"] == figures["jobs"] == 2, "not one result for each job")
    outcome.check(figures["steps_again"] == 0, "work was done twice")
    outcome.check(figures["deliveries"] > deliveries, "the broker repeated no message: nothing was tested")
    return outcome


def network_cut(backends: Servers, folder: Path, *, how: str, **settings: Any) -> Outcome:
    """Disconnects a worker from the database for longer than its lease; `how` is `freeze` or `cut` (see Cable).

    With a frozen connection the worker continues to the end as a zombie, and its result arrives after another worker has
    finished the job. It must be refused.
    """
    outcome = Outcome(f"network {how}")
    cable = Cable(make_url(backends.postgresql.url).port)
    with running_service(backends, folder, **settings) as (service, client):
        service.worker("far", machine="far", cable=cable)
        steps = round(2 * service.settings.lease_s / 0.1)
        subject = service.until(lambda: client.subject(steps=steps, pause=0.1, train={"steps": 3}))
        job_id = subject["jobs"][0]["id"]
        service.until(lambda: len(service.steps(job_id)) > 3)
        (cable.freeze if how == "freeze" else cable.cut)()
        cut_at = time.monotonic()
        service.worker("near", machine="near")
        service.until(lambda: service.job(job_id).state == "succeeded")
        finished_at = time.monotonic()
        zombie = [step for step in service.steps(job_id, attempt=1) if step.moment > cut_at]
        cable.mend()
        service.end("near")
        # The far worker has no job any more; it has to take the next one.
        second = service.until(lambda: client.subject(steps=1, train={"steps": 1}))
        service.until(lambda: client.read(f"/v1/subjects/{second['id']}")["state"] == "ready")
        with service.database.session(write=False) as session:
            key = get(session, Subject, subject["id"]).dataset_key
        outcome.figures = {
            "lease_s": service.settings.lease_s,
            "taken_over_after_s": round(service.steps(job_id, attempt=2)[0].moment - cut_at, 1),
            "zombie_steps_after_the_cut": len(zombie),
            "zombie_finished_its_work": service.steps(job_id, attempt=1)[-1].number == steps - 1,
            "seconds_cut": round(finished_at - cut_at, 1),
            "results": service.moves("succeed") - 3,  # without its training and both jobs of the second subject
            "zombie_writes_accepted": int(f"{job_id}-2-" not in key),
            "wake_ups_used_up_in_vain": sum("raised unexpected" in line for line in service.lines("far")),
        }
    cable.close()
    outcome.check(outcome.figures["results"] == 1, "the job does not have exactly one result")
    outcome.check(outcome.figures["zombie_writes_accepted"] == 0, "the zombie's result was accepted")
    outcome.check(
        outcome.figures["wake_ups_used_up_in_vain"] == 0, "the disconnected worker used up wake-ups of other workers"
    )
    return outcome
