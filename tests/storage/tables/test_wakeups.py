"""Wake-ups: set by the move to `queued`, sent after the commit, and due again until a worker claims the job."""

from __future__ import annotations

import pytest

from storage.database.models import LOCAL
from storage.tables import jobs
from tests.storage.tables.test_jobs import claim, job_in, make, new_job, new_subject


def due(database):
    with database.session(write=False) as session:
        return jobs.due_wakeups(session)


def sent(database, wakeups, again_s=3600.0):
    with database.session() as session:
        jobs.mark_sent(session, wakeups, again_s=again_s)


@pytest.fixture
def notified(database):
    """The wake-ups that the database has passed to its sender."""
    notified = []
    database.on_queued = lambda wakeup: notified.append((wakeup.job_id, wakeup.kind))
    return notified


def test_a_wakeup_is_sent_once_the_job_is_durable(database, notified):
    with database.session() as session:
        job = jobs.create(session, "preprocess", owner=LOCAL, subject_id=new_subject(session).id)
        assert notified == []
    assert notified == [(job.id, "preprocess")]


def test_a_rolled_back_job_sends_no_wakeup(database, notified):
    with pytest.raises(KeyError), database.session() as session:
        jobs.create(session, "preprocess", owner=LOCAL, subject_id=new_subject(session).id)
        raise KeyError
    assert notified == due(database) == []


@pytest.mark.parametrize("move", ["retry", "release", "sweep", "succeed"])
def test_every_move_to_the_queue_sends_a_wakeup(database, notified, move):
    """`succeed` of preprocessing queues the training."""
    job = job_in(database, "failed" if move == "retry" else "running")
    notified.clear()
    if move == "sweep":
        with database.session() as session:
            jobs.sweep(session, lambda job: True)
    else:
        assert make(database, move, job)
    expected = "train" if move == "succeed" else "preprocess"
    assert [kind for _, kind in notified] == [expected]
    assert [wakeup.kind for wakeup in due(database)] == [expected]


@pytest.mark.parametrize("move", ["claim", "cancel"])
def test_only_queued_jobs_have_due_wakeups(database, notified, move):
    job = new_job(database)
    assert len(due(database)) == 1
    if move == "claim":
        claim(database)
    else:
        make(database, "cancel", job)
    assert due(database) == []
    assert len(notified) == 1


def test_a_sent_wakeup_is_due_again_if_nobody_claims_the_job(database):
    new_job(database)
    sent(database, due(database))
    assert due(database) == []
    new_job(database)
    sent(database, due(database), again_s=-1)
    assert len(due(database)) == 1


def test_marking_an_old_wakeup_as_sent_does_not_hide_a_newer_one(database):
    job = new_job(database)
    before = due(database)
    claim(database)
    make(database, "release", job, attempt=1)
    sent(database, before)
    assert [wakeup.job_id for wakeup in due(database)] == [job.id]
    assert due(database) != before


def test_the_longest_due_wakeups_come_first_in_limited_number(database, monkeypatch):
    monkeypatch.setattr(jobs, "WAKEUPS_PER_SWEEP", 3)
    made = [new_job(database).id for _ in range(5)]
    assert [wakeup.job_id for wakeup in due(database)] == made[:3]
    sent(database, due(database))
    assert [wakeup.job_id for wakeup in due(database)] == made[3:]


def test_a_failing_sender_does_not_fail_the_transaction(database):
    database.on_queued = lambda wakeup: 1 / 0
    assert due(database) == []
    job = new_job(database)
    assert [wakeup.job_id for wakeup in due(database)] == [job.id]
