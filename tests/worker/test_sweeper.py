"""The sweep believes locks and its own running time; a clock that leaps and a pause of the machine cost no attempt."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy.orm import Session

from storage.database.models import Job
from storage.tables import jobs
from storage.tables.jobs import JobProgress
from worker.locks import WorkerLock
from worker.sweeper import Sweeper

LEASE_S = 60.0
HOUR_S = 3600.0


class Clock:
    """A clock that a test moves."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def sweeper(house, clock):
    return Sweeper(house.settings.replace(lease_s=LEASE_S), house.database, worker="me", clock=clock)


def claim(house, worker, lease_s=LEASE_S) -> Job:
    house.submit_subject()
    with house.database.session() as session:
        return jobs.claim(session, worker, lease_s=lease_s)


def renew(house, job, lease_s=LEASE_S):
    with house.database.session() as session:
        assert jobs.heartbeat(session, job.id, job.attempt, JobProgress(), lease_s=lease_s)


def sweep_for(sweeper, clock, seconds, step=5.0):
    for _ in range(int(seconds / step)):
        clock.seconds += step
        sweeper.sweep()


def test_a_lease_that_nobody_renews_is_lost_after_its_time(house, sweeper, clock):
    job = claim(house, "elsewhere")
    sweeper.sweep()
    sweep_for(sweeper, clock, LEASE_S - 5)
    assert house.job(job).state == "running"
    sweep_for(sweeper, clock, 5)
    assert (house.job(job).state, house.job(job).attempt) == ("queued", 1)


def test_a_lock_that_cannot_be_opened_keeps_no_job_from_being_returned(house, sweeper, clock):
    job = claim(house, "elsewhere")
    # Such as those of a worker that the superuser has started.
    (house.settings.locks / "workers" / "elsewhere").mkdir(parents=True)
    (house.settings.locks / "unreleased").touch()
    sweep_for(sweeper, clock, LEASE_S + 5)
    assert house.job(job).state == "queued"


@pytest.mark.parametrize("leap_s", [HOUR_S, -HOUR_S])
def test_a_wall_clock_that_differs_or_leaps_costs_no_living_worker_its_job(house, sweeper, clock, leap_s):
    """Its leases end an hour ago, or in an hour, by the clock of the machine that sweeps."""
    job = claim(house, "elsewhere", lease_s=LEASE_S + leap_s)
    for round in range(30):
        sweep_for(sweeper, clock, 10)
        renew(house, job, lease_s=LEASE_S + (leap_s if round % 2 else 0))
    assert house.job(job).state == "running"
    sweep_for(sweeper, clock, LEASE_S + 5)
    assert house.job(job).state == "queued"  # nor does it protect a lost one


def test_a_pause_leaves_the_others_time_to_renew(house, sweeper, clock):
    job = claim(house, "elsewhere")
    for _ in range(5):
        sweep_for(sweeper, clock, 20)
        clock.seconds += HOUR_S  # the machine was paused, and this process runs first
        sweeper.sweep()
        renew(house, job)
    assert house.job(job).state == "running"


def test_the_time_without_a_database_is_a_pause(house, sweeper, clock, monkeypatch):
    job = claim(house, "elsewhere")
    sweeper.sweep()
    with monkeypatch.context() as away:
        away.setattr(Session, "connection", lambda self: 1 / 0)
        for _ in range(int(2 * LEASE_S / 5)):
            clock.seconds += 5
            with pytest.raises(ZeroDivisionError):
                sweeper.sweep()
    sweeper.sweep()
    assert house.job(job).state == "running"  # its worker has half a lease to renew it
    sweep_for(sweeper, clock, LEASE_S)
    assert house.job(job).state == "queued"


def test_a_worker_never_takes_its_own_job(house, sweeper, clock):
    mine, other = claim(house, "me"), claim(house, "elsewhere")
    sweep_for(sweeper, clock, 3 * LEASE_S)
    assert (house.job(mine).state, house.job(other).state) == ("running", "queued")


def test_a_dead_worker_of_this_machine_is_found_at_once(house, sweeper):
    lock = WorkerLock(house.settings.locks / "workers", "dead")
    job = claim(house, "dead")
    sweeper.sweep()
    assert house.job(job).state == "running"
    lock._lock.release()  # as the kernel does when the process ends
    sweeper.sweep()
    assert house.job(job).state == "queued"


def test_each_attempt_has_a_lease_of_its_own(house, sweeper, clock):
    job = claim(house, "elsewhere")
    sweeper.sweep()
    sweep_for(sweeper, clock, LEASE_S - 5)
    with house.database.session() as session:
        jobs.release(session, job.id, 1)
        jobs.claim(session, "another", lease_s=LEASE_S)
    sweep_for(sweeper, clock, LEASE_S)
    assert house.job(job).state == "running"
    sweep_for(sweeper, clock, 5)
    assert house.job(job).state == "queued"


def test_a_failed_sweep_is_followed_by_the_next(house, monkeypatch):
    failures = iter([True, True])
    sweep, job, stopping = jobs.sweep, claim(house, "dead"), threading.Event()
    WorkerLock(house.settings.locks / "workers", "dead")._lock.release()

    def sometimes(*arguments):
        if next(failures, False):
            raise OSError("away")
        return sweep(*arguments)

    monkeypatch.setattr(jobs, "sweep", sometimes)
    sweeper = Sweeper(house.settings.replace(sweep_s=0.05), house.database)
    thread = threading.Thread(target=sweeper.run, args=(stopping,))
    thread.start()
    house.until(lambda: house.job(job).state == "queued")
    began = time.monotonic()
    stopping.set()
    thread.join()
    assert time.monotonic() - began < 5.0
