"""The table of workers, and which of them are alive by their heartbeat."""

from __future__ import annotations

from storage.tables import workers

GPU = {"name": "H200", "memory_bytes": 1 << 37, "used_bytes": 1 << 30}


def register(database, name, **more):
    values = {"host": "a", "queues": ["cpu"], "device": {"name": "cpu"}} | more
    with database.session() as session:
        workers.register(session, name, **values)


def alive(database, within_s=60.0):
    with database.session(write=False) as session:
        return workers.alive(session, within_s=within_s)


def test_a_worker_registers_with_its_host_queues_and_device(database):
    register(database, "w1", host="gpu-3", queues=["gpu_train", "gpu_render"], device=GPU)
    (worker,) = alive(database)
    assert (worker.name, worker.host, worker.queues) == ("w1", "gpu-3", ["gpu_train", "gpu_render"])
    assert worker.device == GPU
    assert worker.started_at <= worker.heartbeat_at


def test_a_heartbeat_keeps_a_worker_alive_and_updates_its_device(database):
    register(database, "w1", device=GPU)
    before = alive(database)[0].heartbeat_at
    with database.session() as session:
        assert workers.heartbeat(session, "w1")
        assert workers.heartbeat(session, "w1", device=GPU | {"used_bytes": 5})
    (worker,) = alive(database)
    assert worker.heartbeat_at > before
    assert worker.device["used_bytes"] == 5


def test_silent_workers_are_not_alive_and_are_removed(database):
    register(database, "w1")
    register(database, "w2")
    assert [worker.name for worker in alive(database)] == ["w1", "w2"]
    assert alive(database, within_s=0) == []
    with database.session() as session:
        assert workers.remove_silent(session, silent_s=60) == []
        assert workers.remove_silent(session, silent_s=0) == ["w1", "w2"]
        assert not workers.heartbeat(session, "w1")
    register(database, "w1")
    assert [worker.name for worker in alive(database)] == ["w1"]


def test_a_worker_may_register_again_and_deregister_twice(database):
    register(database, "w1")
    register(database, "w1", host="b")
    assert [worker.host for worker in alive(database)] == ["b"]
    with database.session() as session:
        workers.deregister(session, "w1")
        workers.deregister(session, "w1")
    assert alive(database) == []
