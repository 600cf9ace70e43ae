"""A lease is kept while work goes on, and work that cannot be stopped ends its process."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy.exc import OperationalError

from adnerf_core.progress import Cancelled
from api.services import jobs as job_service
from storage.tables import jobs
from worker.jobs.attempt import Attempt
from worker.jobs.lease import STUCK, Lease
from worker.jobs.progress import ProgressEstimator
from worker.jobs.workspace import Workspace


@pytest.fixture
def job(house):
    house.submit_subject()
    with house.database.session() as session:
        return jobs.claim(session, "w", lease_s=1.0)


class Held:
    """A lease over a job, and what it did to its process."""

    def __init__(self, house, job, slept=lambda: 0.0, **settings):
        self.died = threading.Event()
        self.statuses = []
        self.stopping = threading.Event()
        settings = house.settings.replace(**settings)
        self.lease = Lease(
            house.database, settings, job, ProgressEstimator({"track": 1}), self.stopping, self.die, slept
        )

    def die(self, status):
        self.statuses.append(status)
        self.died.set()


def test_a_long_silence_of_the_work_does_not_lose_the_lease(house, job):
    with Held(house, job, lease_s=20.0).lease as lease:
        lease.progress("track", 1, 4)
        begun = house.until(lambda: (seen := house.job(job)).progress == 0.25 and seen)
        time.sleep(1.0)  # a native call, during which the core reports nothing
        assert house.job(job).lease_until - begun.lease_until > timedelta(seconds=0.5)
        lease.check()
    assert house.job(job).stage == "track"


def test_a_cancel_stops_the_work_at_its_next_report(house, job):
    with Held(house, job).lease as lease:
        lease.progress("track", 1, 4)
        house.write(job_service.cancel_job, job.id)
        lease.lost.wait(5)
        with pytest.raises(Cancelled):
            lease.progress("track", 2, 4)


def test_work_that_ignores_a_cancel_ends_its_process(house, job):
    held = Held(house, job, grace_s=0.3)
    with held.lease:
        house.write(job_service.cancel_job, job.id)
        assert held.died.wait(5)
    assert held.statuses[0] == STUCK


def test_work_that_ignores_a_stop_is_given_back_and_ends_its_process(house, job):
    held = Held(house, job, grace_s=0.3)
    with held.lease:
        held.stopping.set()
        assert held.died.wait(5)
    given_back = house.job(job)
    assert (given_back.state, given_back.max_attempts) == ("queued", jobs.MAX_ATTEMPTS + 1)


def test_work_that_takes_too_long_fails(house, job):
    with Held(house, job, preprocess_limit_s=0.3).lease as lease:
        lease.overdue.wait(5)
        with pytest.raises(Cancelled):
            lease.progress("track", 1, 4)
        assert not lease.release_or_time_out()
    failed = house.job(job)
    assert (failed.state, failed.error["code"]) == ("failed", "time_limit")


def test_work_that_takes_too_long_and_does_not_stop_fails_and_ends_its_process(house, job):
    held = Held(house, job, preprocess_limit_s=0.3, grace_s=0.3)
    with held.lease:
        assert held.died.wait(5)
    assert house.job(job).error["code"] == "time_limit"


def test_work_without_progress_ends_its_process(house, job):
    held = Held(house, job, stall_s=1.5)
    with held.lease as lease:
        for step in range(8):
            lease.progress("track", step, 8)
            time.sleep(0.25)
        assert not held.died.is_set()
        assert held.died.wait(5)
    assert house.job(job).state == "running"  # the sweep takes it from the dead process, and counts the attempt


def test_a_store_that_is_slow_does_not_count_as_a_hang(house, job):
    held = Held(house, job, stall_s=0.5, beat_s=0.1)
    with held.lease as lease:
        attempt = Attempt(Workspace(house.settings.work, house.store), house.store, house.database, job, lease)
        attempt.call_store(lambda: time.sleep(1.5))  # one transfer
        assert not held.died.is_set()


def test_a_database_that_is_away_for_a_while_does_not_stop_the_work(house, job, monkeypatch):
    failures = iter([True] * 5)
    heartbeat = jobs.heartbeat

    def sometimes(*arguments, **more):
        if next(failures, False):
            raise OperationalError("UPDATE", {}, Exception("away"))
        return heartbeat(*arguments, **more)

    monkeypatch.setattr(jobs, "heartbeat", sometimes)
    with Held(house, job, lease_s=5.0).lease as lease:
        lease.progress("track", 1, 2)
        house.until(lambda: house.job(job).progress == 0.5)
        lease.check()


def test_a_database_that_stays_away_stops_the_work_when_the_lease_is_over(house, job, monkeypatch):
    def never(*_, **__):
        raise OperationalError("UPDATE", {}, Exception("away"))

    monkeypatch.setattr(jobs, "heartbeat", never)
    with Held(house, job, lease_s=0.3).lease as lease:
        assert lease.lost.wait(5)
        with pytest.raises(Cancelled):
            lease.check()


@pytest.mark.parametrize("asleep_s", [0.0, 3600.0])
def test_a_job_that_was_taken_over_while_the_machine_slept_keeps_its_attempts(house, job, asleep_s):
    """On one machine nothing is taken over in its sleep, but another machine cannot know that this one sleeps."""
    slept = [0.0]
    with Held(house, job, lambda: slept[0], beat_s=0.5).lease as lease:
        with house.database.session() as session:
            slept[0] = asleep_s
            jobs.sweep(session, lambda job: True)
        assert lease.lost.wait(5)
    again = house.job(job)
    assert (again.state, again.attempt) == ("queued", 1)
    assert again.max_attempts == jobs.MAX_ATTEMPTS + (1 if asleep_s else 0)


def test_a_cancelled_job_is_not_changed_after_a_sleep(house, job):
    slept = [0.0]
    with Held(house, job, lambda: slept[0], beat_s=0.5).lease as lease:
        house.write(job_service.cancel_job, job.id)
        slept[0] = 3600.0
        assert lease.lost.wait(5)
    assert (house.job(job).state, house.job(job).max_attempts) == ("cancelled", jobs.MAX_ATTEMPTS)
