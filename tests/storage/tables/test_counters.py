"""Counters: what increments them, and that nothing is lost."""

from __future__ import annotations

import threading

from storage.tables import counters, jobs
from tests.storage.tables.test_jobs import ERROR, claim, new_job

ATTEMPTS = 12


def counts(database, name=counters.MOVE):
    with database.session(write=False) as session:
        return {(each.kind, each.label): each.count for each in counters.all_counts(session) if each.name == name}


def test_moves_are_counted(database):
    first, second = new_job(database), new_job(database, "render")
    for _ in range(2):
        claim(database, lease_s=-1)
    with database.session() as session:
        jobs.sweep(session, lambda job: True)
    assert counts(database) == {
        ("preprocess", "claim"): 1,
        ("render", "claim"): 1,
        ("preprocess", "requeue"): 1,
        ("render", "requeue"): 1,
    }
    again = claim(database)
    with database.session() as session:
        jobs.fail(session, again.id, again.attempt, ERROR)
        jobs.cancel(session, second.id)
    assert again.id == first.id
    assert counts(database)["preprocess", "claim"] == 2
    assert counts(database)["preprocess", "fail"] == counts(database)["render", "cancel"] == 1


def test_a_rolled_back_move_is_not_counted(database):
    job = new_job(database)
    try:
        with database.session() as session:
            jobs.cancel(session, job.id)
            raise KeyError
    except KeyError:
        pass
    assert not succeed_with_an_old_attempt(database, job)
    assert counts(database) == {}


def succeed_with_an_old_attempt(database, job):
    with database.session() as session:
        return jobs.succeed(session, job.id, attempt=7)


def test_durations_add_up(database):
    for seconds in (1.5, 2.0):
        with database.session() as session:
            counters.add(session, counters.STAGE, "train", "head", seconds)
            counters.add(session, counters.STAGE, "train", "torso", 1.0)
            counters.add(session, counters.STAGE, "train", "torso", 1.0)
    with database.session(write=False) as session:
        head, torso = counters.all_counts(session)
    assert head == (counters.STAGE, "train", "head", 2, 3.5)
    assert torso == (counters.STAGE, "train", "torso", 4, 4.0)


def test_concurrent_writers_lose_no_increment(database):
    """Also while the row does not exist yet, and if they increment in different orders."""
    failed = []

    def write(labels):
        try:
            for _ in range(ATTEMPTS):
                with database.session() as session:
                    for label in labels:
                        counters.add(session, counters.MOVE, "train", label)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(labels,)) for labels in (["a", "b"], ["b", "a"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert counts(database) == {("train", "a"): 2 * ATTEMPTS, ("train", "b"): 2 * ATTEMPTS}
