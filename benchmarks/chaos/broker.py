"""What a broker can do to jobs: forget, repeat itself, and give up waiting. And what a network can."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from benchmarks.chaos.cable import Cable
from benchmarks.chaos.clients import staged
from benchmarks.chaos.outcome import Outcome
from benchmarks.chaos.stage import Servers
from benchmarks.chaos.storm import END_STATES, repeated
from storage.database.models import Job, Subject
from storage.database.queries import get
from worker.broker import Broker, make_app


def flush(on: Servers, folder: Path, *, subjects: int, flushes: int, **settings: Any) -> Outcome:
    """FLUSHALL in the middle of the work, several times: what was queued, and what was just being woken."""
    outcome = Outcome("redis FLUSHALL")
    with staged(on, folder, **settings) as (stage, client):
        stage.beat()
        for name in ("worker-1", "worker-2"):
            stage.worker(name)
        work = {"steps": 15, "pause": 0.1}
        for _ in range(subjects):
            stage.until(lambda: client.subject(**work, train=work))
        stage.until(lambda: stage.jobs(Job.state == "running"))
        for _ in range(flushes):
            stage.redis.flushall()
            time.sleep(1.0)
        begun = time.monotonic()
        stage.until(lambda: len(stage.jobs(Job.state.in_(END_STATES))) == 2 * subjects)
        jobs = stage.jobs()
        outcome.figures = {
            "jobs": len(jobs),
            "flushes": flushes,
            "lost": sum(job.state != "succeeded" for job in jobs),
            "published_twice": stage.moves("succeed") - len(jobs),
            "attempts_more_than_one": sum(job.attempt > 1 for job in jobs),
            "seconds_until_all_were_done": round(time.monotonic() - begun, 1),
        }
    outcome.hold(outcome.figures["lost"] == 0, "jobs were lost with what Redis forgot")
    outcome.hold(outcome.figures["published_twice"] == 0, "results were published twice")
    return outcome


def repeats(
    on: Servers, folder: Path, *, deliveries: int, job_s: float, visibility_s: float, **settings: Any
) -> Outcome:
    """A message delivered several times, and a visibility timeout shorter than the job: one attempt, one result."""
    outcome = Outcome("repeated delivery")
    with staged(on, folder, **settings) as (stage, client):
        for name in ("worker-1", "worker-2", "worker-3"):
            stage.worker(name, visibility_s=visibility_s)
        broker = Broker(make_app(stage.settings.broker_url), stage.settings)
        subject = stage.until(lambda: client.subject(steps=round(job_s / 0.1), pause=0.1, train={"steps": 3}))
        for _ in range(deliveries - 1):  # the first one was sent with the job
            broker.send("preprocess")
        stage.until(lambda: stage.jobs(Job.subject_id == subject["id"], Job.kind == "train", Job.state == "succeeded"))
        jobs = stage.jobs()
        woken = sum("adnerf.wake" in line and "received" in line for line in stage.lines("worker-"))
        outcome.figures = {
            "deliveries": woken,
            "job_s": job_s,
            "visibility_timeout_s": visibility_s,
            "attempts": max(job.attempt for job in jobs),
            "results": stage.moves("succeed"),
            "jobs": len(jobs),
            "steps_again": repeated(stage)["again"],
        }
    figures = outcome.figures
    outcome.hold(figures["attempts"] == 1, "a message that came again made a second attempt")
    outcome.hold(figures["results"] == figures["jobs"] == 2, "not one result for each job")
    outcome.hold(figures["steps_again"] == 0, "work was done twice")
    outcome.hold(figures["deliveries"] > deliveries, "the broker did not repeat itself: nothing was tried")
    return outcome


def network_cut(on: Servers, folder: Path, *, how: str, **settings: Any) -> Outcome:
    """The database is out of reach of a worker for longer than its lease; `how`: `freeze` or `cut` (see Cable).

    Frozen, the worker works on to the end as a zombie, and its last word arrives when another has finished the job.
    """
    outcome = Outcome(f"network {how}")
    cable = Cable(make_url(on.postgresql.url).port)
    with staged(on, folder, **settings) as (stage, client):
        stage.worker("far", machine="far", cable=cable)
        steps = round(2 * stage.settings.lease_s / 0.1)
        subject = stage.until(lambda: client.subject(steps=steps, pause=0.1, train={"steps": 3}))
        job_id = subject["jobs"][0]["id"]
        stage.until(lambda: len(stage.steps(job_id)) > 3)
        (cable.freeze if how == "freeze" else cable.cut)()
        cut = time.time()
        stage.worker("near", machine="near")
        stage.until(lambda: stage.job(job_id).state == "succeeded")
        over = time.time()
        zombie = [step for step in stage.steps(job_id, attempt=1) if step.moment > cut]
        cable.mend()
        stage.end("near")
        again = stage.until(lambda: client.subject(steps=1, train={"steps": 1}))  # the far one is done, and works again
        stage.until(lambda: client.read(f"/v1/subjects/{again['id']}")["state"] == "ready")
        with stage.database.session(write=False) as session:
            key = get(session, Subject, subject["id"]).dataset_key
        outcome.figures = {
            "lease_s": stage.settings.lease_s,
            "taken_over_after_s": round(stage.steps(job_id, attempt=2)[0].moment - cut, 1),
            "zombie_steps_after_the_cut": len(zombie),
            "zombie_finished_its_work": stage.steps(job_id, attempt=1)[-1].number == steps - 1,
            "seconds_cut": round(over - cut, 1),
            "results": stage.moves("succeed") - 3,  # beside its training, and both jobs of the other subject
            "zombie_writes_accepted": int(f"{job_id}-2." not in key),
            "wake_ups_used_up_in_vain": sum("raised unexpected" in line for line in stage.lines("far")),
        }
    cable.close()
    outcome.hold(outcome.figures["results"] == 1, "the job has not one result")
    outcome.hold(outcome.figures["zombie_writes_accepted"] == 0, "the zombie's result is the one that is seen")
    outcome.hold(outcome.figures["wake_ups_used_up_in_vain"] == 0, "the cut worker kept others from being woken")
    return outcome
