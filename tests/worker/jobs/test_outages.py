"""A database or an object store that does not answer: jobs wait for it, and no attempt counts. In one process, with the stub core."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy.exc import OperationalError

from storage.database.models import Verification
from storage.errors import StoreAway, StoreFull
from storage.tables import jobs, verifications
from worker.jobs import attempt, lease
from worker.locks import WorkerLock
from worker.provenance.verifier import Verifier
from worker.sweeper import Sweeper
from worker.unreleased import leave, note, release_noted


def test_what_a_running_job_shows_waits_for_the_database(house, monkeypatch):
    outage = DatabaseOutage(house, monkeypatch, "publish")
    monkeypatch.setattr(attempt, "RETRY_S", 0.05)
    preprocessing, _ = house.ready_subject().jobs
    assert (outage.times, preprocessing.state, preprocessing.attempt) == (0, "succeeded", 1)
    assert preprocessing.max_attempts == jobs.MAX_ATTEMPTS


def test_a_training_goes_on_while_its_snapshots_cannot_be_recorded(house, monkeypatch):
    monkeypatch.setattr(attempt, "SNAPSHOT_RETRY_S", 0.0)
    subject = house.submit_subject(train={"steps": 6, "previews": True})
    worker = house.worker()
    assert worker.run_next()
    outage = DatabaseOutage(house, monkeypatch, "publish", times=3)
    assert worker.run_next()
    subject = house.subject(subject)
    assert (outage.times, subject.state, subject.jobs[1].attempt) == (0, "ready", 1)
    assert subject.preview_key in house.objects()


class DatabaseOutage:
    """Makes a move of storage/tables/jobs.py fail `times` times as if the database did not answer.

    Args:
        committed: Whether the move is made nonetheless: the connection breaks after the commit.
        meanwhile: Called in each failure.
    """

    def __init__(self, house, monkeypatch, move, times=2, committed=False, meanwhile=lambda: None):
        self.house, self.move, self.made, self.times = house, move, getattr(jobs, move), times
        self.committed, self.meanwhile = committed, meanwhile
        monkeypatch.setattr(lease, "DATABASE_RETRY_S", 0.05)
        monkeypatch.setattr(jobs, move, self)

    def __call__(self, session, *arguments, **values):
        if not self.times:
            return self.made(session, *arguments, **values)
        self.times -= 1
        session.rollback()
        if self.committed:
            self.house.write(lambda session, owner: self.made(session, *arguments, **values))
        self.meanwhile()
        raise OperationalError("UPDATE", {}, Exception("server closed the connection unexpectedly"))


@pytest.mark.parametrize(
    ("move", "orders", "state"), [("succeed", {}, "succeeded"), ("fail", {"at": {"1": "crash"}}, "failed")]
)
def test_the_end_of_a_job_waits_for_the_database(house, monkeypatch, move, orders, state):
    outage = DatabaseOutage(house, monkeypatch, move)
    subject = house.submit_subject(**orders)
    assert house.worker().run_next()
    job = house.subject(subject).jobs[-1] if state == "failed" else house.subject(subject).jobs[0]
    assert outage.times == 0
    assert (job.state, job.attempt, job.max_attempts) == (state, 1, jobs.MAX_ATTEMPTS)


def test_the_end_of_a_job_at_its_time_limit_waits_for_the_database(house, monkeypatch):
    outage = DatabaseOutage(house, monkeypatch, "time_out")
    house.settings = house.settings.replace(preprocess_limit_s=0.2)
    subject = house.submit_subject(steps=200, pause=0.05)
    assert house.worker().run_next()
    (job,) = house.subject(subject).jobs
    assert (outage.times, job.state, job.error["code"]) == (0, "failed", "time_limit")


def test_a_result_whose_commit_was_not_confirmed_stays(house, monkeypatch):
    DatabaseOutage(house, monkeypatch, "succeed", times=1, committed=True)
    subject = house.ready_subject()
    assert [(job.state, job.attempt) for job in subject.jobs] == [("succeeded", 1)] * 2
    assert subject.run_key in house.objects()


def test_a_job_that_was_taken_while_the_database_was_away_keeps_its_attempts(house, monkeypatch):
    def sweep():
        with house.database.session() as session:
            jobs.sweep(session, lambda job: True)

    DatabaseOutage(house, monkeypatch, "succeed", times=1, meanwhile=sweep)
    subject = house.submit_subject()
    assert house.worker().run_next()
    (job,) = house.subject(subject).jobs
    assert (job.state, job.attempt, job.max_attempts) == ("queued", 1, jobs.MAX_ATTEMPTS + 1)


def test_a_stop_while_the_database_is_away_costs_no_attempt(house, monkeypatch):
    subject = house.submit_subject(steps=200, pause=0.05)
    worker = house.worker()
    DatabaseOutage(house, monkeypatch, "release", times=1)
    working = threading.Thread(target=worker.run)
    working.start()
    (job,) = house.subject(subject).jobs
    house.until(lambda: house.job(job).progress > 0)
    worker.stopping.set()
    working.join()
    assert house.job(job).state == "running"  # the worker has ended, and the row does not know
    Sweeper(house.settings, house.database).sweep()
    job = house.job(job)
    assert (job.state, job.attempt, job.max_attempts) == ("queued", 1, jobs.MAX_ATTEMPTS + 1)
    assert not list((house.settings.locks / "unreleased").iterdir())


def test_a_note_waits_for_the_end_of_its_worker_and_forgives_what_others_have_counted(house):
    house.submit_subject()
    with house.database.session() as session:
        job = jobs.claim(session, "w", lease_s=60.0)
    lock = WorkerLock(house.settings.locks / "workers", "w")
    leave(note(house.settings, job.id, job.attempt, "w"))
    leave(house.settings.locks / "unreleased" / ".nfs0000000001")  # no note
    release_noted(house.settings, house.database)
    assert house.job(job).state == "running"
    lock.release()
    with house.database.session() as session:
        jobs.sweep(session, lambda job: True)  # by a machine that does not see the note
    assert house.job(job).max_attempts == jobs.MAX_ATTEMPTS
    release_noted(house.settings, house.database)
    release_noted(house.settings, house.database)
    assert house.job(job).max_attempts == jobs.MAX_ATTEMPTS + 1


def test_a_verification_that_a_stop_could_not_release_keeps_its_attempts(house, monkeypatch):
    with house.database.session() as session:
        session.add(Verification(id="ver_1", owner="ada", sha256="0" * 64, max_attempts=verifications.MAX_ATTEMPTS))
        session.flush()
        row = verifications.claim(session)
    verifier = Verifier(house.settings, house.database, house.store)
    verifier._mine.append(row)

    def full(*_):
        raise StoreFull("No space left to write the database.")

    with monkeypatch.context() as patch, pytest.raises(StoreFull):
        patch.setattr(verifications, "release", full)
        verifier.close()
    Sweeper(house.settings, house.database).sweep()
    with house.database.session(write=False) as session:
        row = session.get(Verification, "ver_1")
        assert (row.state, row.attempt, row.max_attempts) == ("queued", 1, verifications.MAX_ATTEMPTS + 1)


class Outage:
    """Makes calls of the object store fail as if it did not answer: the first `calls` of each of the named methods."""

    def __init__(self, store, monkeypatch, calls, *methods):
        self.failed = []
        for name in methods:
            monkeypatch.setattr(store, name, self._failing(name, getattr(store, name), calls))

    def _failing(self, name, method, calls):
        def call(*arguments, **values):
            if self.failed.count(name) < calls:
                self.failed.append(name)
                raise StoreAway("The object store does not answer.")
            return method(*arguments, **values)

        return call


def test_a_job_waits_for_an_object_store_that_does_not_answer(house, monkeypatch):
    monkeypatch.setattr(attempt, "RETRY_S", 0.05)
    subject = house.submit_subject(train={"steps": 4, "previews": True})
    worker = house.worker()
    outage = Outage(worker.pipeline.store, monkeypatch, 2, "fetch", "put", "size")
    while worker.run_next():
        pass
    assert sorted(set(outage.failed)) == ["fetch", "put", "size"]
    assert [(job.state, job.attempt, job.error) for job in house.subject(subject).jobs] == [("succeeded", 1, None)] * 2


def test_a_job_is_released_when_the_object_store_stays_away_and_keeps_its_work(house, monkeypatch):
    monkeypatch.setattr(attempt, "RETRY_S", 0.05)
    monkeypatch.setattr(attempt, "PATIENCE_S", 0.2)
    subject = house.submit_subject()
    worker = house.worker()
    with monkeypatch.context() as patch:
        Outage(worker.pipeline.store, patch, 1000, "put")
        assert worker.run_next()
    (preprocessing,) = house.subject(subject).jobs
    assert (preprocessing.state, preprocessing.attempt) == ("queued", 1)
    assert preprocessing.max_attempts == jobs.MAX_ATTEMPTS + 1  # the attempt does not count
    assert (worker.pipeline.workspace.jobs / preprocessing.id / "1" / "dataset").exists()
    while worker.run_next():
        pass
    assert house.subject(subject).state == "ready"


def test_a_training_goes_on_while_snapshots_cannot_be_stored(house, monkeypatch):
    monkeypatch.setattr(attempt, "SNAPSHOT_RETRY_S", 0.0)
    subject = house.submit_subject(train={"steps": 6, "previews": True})
    worker = house.worker()
    assert worker.run_next()
    outage = Outage(worker.pipeline.store, monkeypatch, 3, "put")
    assert worker.run_next()
    assert len(outage.failed) == 3
    _, training = house.subject(subject).jobs
    assert (training.state, training.attempt) == ("succeeded", 1)
    assert house.subject(subject).preview_key in house.objects()
