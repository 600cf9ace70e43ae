"""The table of workers: who is there, judged by the heartbeat."""

from __future__ import annotations

from storage.tables import workers

GPU = {"name": "H200", "memory_bytes": 1 << 37, "used_bytes": 1 << 30}


def enter(database, name, **more):
    values = {"host": "a", "queues": ["cpu"], "device": {"name": "cpu"}} | more
    with database.session() as session:
        workers.register(session, name, **values)


def alive(database, within_s=60.0):
    with database.session(write=False) as session:
        return workers.alive(session, within_s=within_s)


def test_a_worker_tells_what_it_is(database):
    enter(database, "w1", host="gpu-3", queues=["gpu_train", "gpu_render"], device=GPU)
    (worker,) = alive(database)
    assert (worker.name, worker.host, worker.queues) == ("w1", "gpu-3", ["gpu_train", "gpu_render"])
    assert worker.device == GPU
    assert worker.started_at <= worker.heartbeat_at


def test_a_heartbeat_keeps_a_worker_alive_and_tells_of_its_device(database):
    enter(database, "w1", device=GPU)
    before = alive(database)[0].heartbeat_at
    with database.session() as session:
        assert workers.heartbeat(session, "w1")
        assert workers.heartbeat(session, "w1", device=GPU | {"used_bytes": 5})
    (worker,) = alive(database)
    assert worker.heartbeat_at > before
    assert worker.device["used_bytes"] == 5


def test_the_silent_are_not_alive_and_are_buried(database):
    enter(database, "w1")
    enter(database, "w2")
    assert [worker.name for worker in alive(database)] == ["w1", "w2"]
    assert alive(database, within_s=0) == []
    with database.session() as session:
        assert workers.remove_silent(session, silent_s=60) == []
        assert workers.remove_silent(session, silent_s=0) == ["w1", "w2"]
        assert not workers.heartbeat(session, "w1")
    enter(database, "w1")
    assert [worker.name for worker in alive(database)] == ["w1"]


def test_a_worker_may_enter_again_and_leaves_in_good_order(database):
    enter(database, "w1")
    enter(database, "w1", host="b")
    assert [worker.host for worker in alive(database)] == ["b"]
    with database.session() as session:
        workers.deregister(session, "w1")
        workers.deregister(session, "w1")
    assert alive(database) == []
