"""The order of the queue: owners take turns, low priority waits, and positions are the order of claims."""

from __future__ import annotations

from datetime import timedelta

from storage.database.models import Job, Subject, now
from storage.tables import jobs, queue, workers
from tests.storage.tables.test_jobs import claim, make, new_subject


def add(database, owner, kind="train", **more):
    with database.session() as session:
        subject = new_subject(session)
        subject.owner = owner
        return jobs.create(session, kind, owner=owner, subject_id=subject.id, **more).id


def order(database):
    """The jobs in the order in which they are claimed."""
    found = []
    while job := claim(database):
        found.append(job.id)
    return found


def test_owners_take_turns_and_positions_say_so(database):
    ann = [add(database, "ann") for _ in range(4)]
    bob = [add(database, "bob") for _ in range(2)]
    cid = [add(database, "cid")]
    expected = [ann[0], bob[0], cid[0], ann[1], bob[1], ann[2], ann[3]]
    with database.session(write=False) as session:
        positions = queue.queue_positions(session, expected)
        assert queue.queue_positions(session, expected[3:]) == {job: positions[job] for job in expected[3:]}
    assert [positions[job] for job in expected] == [1, 2, 3, 4, 5, 6, 7]
    assert order(database) == expected


def test_an_owner_that_comes_later_waits_for_one_job_of_each_other(database):
    ann = [add(database, "ann") for _ in range(5)]
    assert [claim(database).id for _ in range(3)] == ann[:3]
    bob = add(database, "bob")
    late = add(database, "ann")
    assert order(database) == [ann[3], bob, ann[4], late]


def test_jobs_that_share_no_worker_do_not_move_each_other_s_turns(database):
    with database.session() as session:
        for queue_name in ("cpu", "gpu_train"):
            workers.register(session, queue_name, host="h", queues=[queue_name], device={})
    with database.session() as session:  # it waits for a worker that trains; those that preprocess go on
        jobs.create(session, "train", owner="cid", subject_id=new_subject(session).id)
    ann = [add(database, "ann", kind="preprocess") for _ in range(4)]
    assert [claim(database, kinds=["preprocess"]).id for _ in range(3)] == ann[:3]
    bob = [add(database, "bob", kind="preprocess") for _ in range(2)]
    assert [claim(database, kinds=["preprocess"]).id for _ in range(3)] == [ann[3], *bob]


def test_what_comes_back_from_the_trash_waits_for_others_and_puts_nobody_off(database):
    with database.session() as session:
        gone, subject = new_subject(session), new_subject(session)
        gone.owner = subject.owner = "ann"
        held = [jobs.create(session, "train", owner="ann", subject_id=gone.id).id for _ in range(3)]
        session.flush()
        gone.trashed_until = now() + timedelta(hours=1)
        bob = [jobs.create(session, "train", owner="bob", subject_id=new_subject(session).id).id for _ in range(6)]
    assert [claim(database).id for _ in range(3)] == bob[:3]
    with database.session() as session:
        mine = jobs.create(session, "train", owner="ann", subject_id=subject.id).id  # not after those in the trash
        jobs.rejoin(session, gone.id, owner="ann")
        session.get(Subject, gone.id).trashed_until = None
    assert order(database) == [bob[3], mine, held[0], bob[4], held[1], bob[5], held[2]]


def test_low_priority_waits_for_all_others(database):
    low = [add(database, "ann", priority="low") for _ in range(2)]
    other = add(database, "bob", priority="low")
    normal = [add(database, "ann"), add(database, "ann")]
    with database.session(write=False) as session:
        assert queue.queue_positions(session, [low[0]]) == {low[0]: 3}
    assert order(database) == [*normal, low[0], other, low[1]]


def test_a_released_job_has_its_old_position_and_a_retried_one_the_last(database):
    first, second = add(database, "ann"), add(database, "ann")
    running = claim(database)
    assert make(database, "release", running)
    assert claim(database).id == first
    with database.session() as session:
        jobs.cancel(session, first)
        jobs.retry(session, first)
        assert session.get(Job, first).turn > session.get(Job, second).turn
    assert order(database) == [second, first]
