"""How long jobs are expected to take: like earlier ones, after what is before them."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from storage.database.models import Job, now
from storage.tables import jobs, queue
from storage.tables.estimates import FIRST_S, Estimates
from storage.tables.jobs import JobProgress
from tests.storage.tables.test_jobs import claim, new_job


def ended(database, kind, seconds):
    """A job that took so long."""
    job = new_job(database, kind)
    with database.session() as session:
        times = {"started_at": now() - timedelta(seconds=seconds), "finished_at": now()}
        session.execute(update(Job).where(Job.id == job.id).values(state="succeeded", **times))


def to_end(database, job):
    with database.session(write=False) as session:
        row = session.get_one(Job, job.id)
        return Estimates(session).to_end(row, queue.queue_positions(session, [job.id]).get(job.id))


def test_before_any_job_has_ended_the_reference_machine_s_durations_count(database):
    first, render = new_job(database), new_job(database, "render")
    assert to_end(database, first) == FIRST_S["preprocess", None]
    assert to_end(database, render) is None, "it is as long as its speech"
    with database.session(write=False) as session:
        row = session.get_one(Job, first.id)
        assert Estimates(session).to_ready(row, 60.0) == 60.0 + FIRST_S["train", "draft"]


def test_a_queued_job_takes_as_long_as_earlier_ones_and_waits_for_those_before_it(database):
    for seconds in (900, 40, 30, 50, 20, 45):  # the newest five count; 900 is the sixth
        ended(database, "train", seconds)
    running, second, third = (new_job(database, "train") for _ in range(3))
    claimed = claim(database, kinds=["train"])
    assert claimed.id == running.id
    assert to_end(database, running) == pytest.approx(40, abs=15)
    assert to_end(database, third) == pytest.approx(40 + 40 + 40, abs=15)
    with database.session() as session:
        jobs.heartbeat(session, claimed.id, claimed.attempt, JobProgress("head", 0.9, 7.0), lease_s=60)
    assert to_end(database, running) == 7, "what is measured counts more"
    assert to_end(database, second) == pytest.approx(7 + 40, abs=15)
