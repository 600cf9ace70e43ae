"""Wake-ups: written with the move to `queued`, told after the commit, and due again until a worker has the job."""

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
def told(database):
    """What a sender is told."""
    told = []
    database.on_queued = lambda wakeup: told.append((wakeup.job_id, wakeup.kind))
    return told


def test_a_sender_is_told_once_the_job_is_durable(database, told):
    with database.session() as session:
        job = jobs.create(session, "preprocess", owner=LOCAL, subject_id=new_subject(session).id)
        assert told == []
    assert told == [(job.id, "preprocess")]


def test_a_job_that_came_to_nothing_wakes_nobody(database, told):
    with pytest.raises(KeyError), database.session() as session:
        jobs.create(session, "preprocess", owner=LOCAL, subject_id=new_subject(session).id)
        raise KeyError
    assert told == due(database) == []


@pytest.mark.parametrize("move", ["retry", "release", "sweep", "succeed"])
def test_every_way_into_the_queue_wakes(database, told, move):
    """`succeed` of preprocessing queues the training."""
    job = job_in(database, "failed" if move == "retry" else "running")
    told.clear()
    if move == "sweep":
        with database.session() as session:
            jobs.sweep(session, dead=lambda worker: True)
    else:
        assert make(database, move, job)
    expected = "train" if move == "succeed" else "preprocess"
    assert [kind for _, kind in told] == [expected]
    assert [wakeup.kind for wakeup in due(database)] == [expected]


@pytest.mark.parametrize("move", ["claim", "cancel"])
def test_a_job_that_is_not_queued_is_not_due(database, told, move):
    job = new_job(database)
    assert len(due(database)) == 1
    if move == "claim":
        claim(database)
    else:
        make(database, "cancel", job)
    assert due(database) == []
    assert len(told) == 1


def test_what_was_sent_is_due_again_when_nobody_came(database):
    new_job(database)
    sent(database, due(database))
    assert due(database) == []
    new_job(database)
    sent(database, due(database), again_s=-1)
    assert len(due(database)) == 1


def test_a_late_word_of_sending_does_not_hide_a_newer_wakeup(database):
    job = new_job(database)
    before = due(database)
    claim(database)
    make(database, "release", job, attempt=1)
    sent(database, before)
    assert [wakeup.job_id for wakeup in due(database)] == [job.id]
    assert due(database) != before


def test_those_due_longest_come_first_and_not_all_at_once(database, monkeypatch):
    monkeypatch.setattr(jobs, "WAKEUPS_PER_SWEEP", 3)
    made = [new_job(database).id for _ in range(5)]
    assert [wakeup.job_id for wakeup in due(database)] == made[:3]
    sent(database, due(database))
    assert [wakeup.job_id for wakeup in due(database)] == made[3:]


def test_a_sender_that_fails_fails_nothing(database):
    database.on_queued = lambda wakeup: 1 / 0
    assert due(database) == []
    job = new_job(database)
    assert [wakeup.job_id for wakeup in due(database)] == [job.id]
