"""Processes that hang are seen from outside and replaced, and their jobs go on. Real processes.

SIGSTOP stands for whatever stops a whole process; one job really holds the interpreter's lock in a native call.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import closing

import httpx
import pytest

from storage.settings import NOTIFY_SOCKET
from storage.tables import jobs
from tests.servers import free_port
from tests.worker.fleet import Fleet, claimer
from worker.broker import QUEUES
from worker.locks import WorkerLock
from worker.processes import supervisor

SLOW = {"steps": 40, "pause": 0.05}


@pytest.fixture
def settings(settings):
    return settings.replace(watchdog_s=3.0, sweep_s=0.5)


@pytest.fixture
def fleet(settings, redis_server, postgresql_url):
    settings = settings.replace(broker_url=redis_server.url, database_url=postgresql_url, wake_again_s=2.0, beat_s=0.2)
    with closing(Fleet(settings)) as fleet:
        yield fleet


def stop(pid):
    os.kill(pid, signal.SIGSTOP)


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [int(child) for child in children.read().split()]


def child_of(house, process, other_than=None):
    """The id of a supervisor's only child, once it has one other than the one given."""
    return house.until(lambda: (found := children_of(process.pid)) and found != [other_than] and found)[0]


def under_way(house):
    return house.until(lambda: (job := house.newest_job()).state == "running" and 0.2 < job.progress < 1 and job)


def start_api(house, **options):
    """`adnerf api`; returns its process and its URL, once it answers."""
    port = free_port()
    api = house.start_module("worker", "api", "--port", str(port), **options)
    url = f"http://127.0.0.1:{port}"
    house.until(lambda: answers(url))
    return api, url


def answers(url):
    try:
        return httpx.get(f"{url}/healthz", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_nothing_short_waits_behind_a_training(settings, monkeypatch):
    monkeypatch.setattr(supervisor, "list_gpus", list)
    assert supervisor._workers(settings) == {"worker": ["cpu", "gpu_render"], "training worker": ["gpu_train"]}
    monkeypatch.setattr(supervisor, "list_gpus", lambda: ["GPU-1"])
    settings = settings.replace(device="auto")
    assert supervisor._workers(settings) == {"worker": ["cpu"], "training worker": ["gpu_train", "gpu_render"]}


def test_a_stopped_worker_is_replaced_and_its_job_finished(house):
    subject = house.submit_subject(**SLOW)
    house.start("serve")
    job = under_way(house)
    stop(claimer(job))
    began = time.monotonic()
    house.until(lambda: house.job(job).attempt == 2)
    assert time.monotonic() - began < 20.0
    house.until(lambda: house.subject(subject).state == "ready")
    assert not os.path.exists(f"/proc/{claimer(job)}")


def test_a_job_that_hangs_its_worker_three_times_fails_and_the_others_run(house):
    hanging = house.submit_subject(at={"1": "hold_gil"})
    other = house.submit_subject()
    serving = house.start("serve")
    house.until(lambda: house.subject(other).state == "ready" and house.subject(hanging).state == "failed", 120)
    (job,) = house.subject(hanging).jobs
    assert (job.attempt, job.error["code"]) == (jobs.MAX_ATTEMPTS, "worker_lost")
    assert serving.poll() is None


def test_a_pause_of_the_whole_machine_costs_no_attempt(house):
    """Every process is stopped for longer than the lease and the watchdog, as when a laptop sleeps."""
    house.settings = house.settings.replace(lease_s=3.0)
    subject = house.submit_subject(steps=100, pause=0.05)
    service, (api, url) = house.start("serve"), start_api(house)
    job = under_way(house)
    machine = [service.pid, api.pid, child_of(house, api), claimer(job)]
    for _ in range(2):
        for pid in machine:
            stop(pid)
        time.sleep(5.0)
        for pid in machine:
            os.kill(pid, signal.SIGCONT)
        time.sleep(1.5)
    house.until(lambda: house.subject(subject).state == "ready")
    assert (house.job(job).attempt, house.job(job).max_attempts) == (1, jobs.MAX_ATTEMPTS)
    assert answers(url) and child_of(house, api) in machine


def test_the_api_takes_part_in_supervision(house, tmp_path):
    """It gives back the job of a dead worker, which may be the only one; it is replaced when it hangs; its supervisor has one, too."""
    house.submit_subject()
    with house.database.session() as session:
        job = jobs.claim(session, "dead", lease_s=600)
    WorkerLock(house.settings.locks / "workers", "dead")._lock.release()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(30)
        api, url = start_api(house, environment={NOTIFY_SOCKET: str(tmp_path / "notify")})
        for _ in range(10):  # the signs of its child go to itself
            assert systemd.recv(100) == b"WATCHDOG=1\nX_ADNERF_PID=%d" % api.pid
    house.until(lambda: house.job(job).state == "queued")
    hung = child_of(house, api)
    time.sleep(1.0)  # it has given its first sign of life
    stop(hung)
    began = time.monotonic()
    child_of(house, api, other_than=hung)
    assert time.monotonic() - began < 20.0
    house.until(lambda: answers(url))
    api.terminate()
    assert api.wait(30) == 0


def test_a_program_that_cannot_start_ends_its_supervisor_at_once(house):
    assert house.start_module("tests.worker.worker_processes", "supervise", "no_such_module").wait(30) == 1


def test_a_child_that_keeps_dying_does_not_end_the_others(monkeypatch):
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.1)
    script = "import os, time; from worker.watchdog import notify; notify(); time.sleep(0.5); os.abort()"
    commands = {
        "dying": [sys.executable, "-c", script],
        "living": ["sleep", "60"],
    }
    running = supervisor.Supervisor(commands, dict(os.environ), watchdog_s=45.0)
    result = []
    thread = threading.Thread(target=lambda: result.append(running.run()))
    thread.start()
    deadline = time.monotonic() + 60
    while (
        running.short_lives["dying"] < supervisor.SHORT_LIVES + 2 and thread.is_alive() and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert thread.is_alive() and running.short_lives["dying"] == supervisor.SHORT_LIVES + 2
    assert running.children["living"].poll() is None
    running.stopping.set()
    thread.join(30)
    assert result == [0]


def test_a_stopped_process_of_a_celery_worker_is_replaced(fleet):
    """The process that runs the job first: Celery replaces it. Then Celery's main process."""
    celery = ("celery", "--app", "tests.worker.celery_stub", "worker", "--queues", ",".join(QUEUES.values()))
    worker = fleet.start_module("tests.worker.worker_processes", "supervise", *celery)
    subject = fleet.submit_subject(**SLOW)
    job = fleet.running("preprocess")
    main = child_of(fleet, worker)
    stop(claimer(job))
    fleet.until_ready(subject)
    assert fleet.job(job).attempt == 2
    assert child_of(fleet, worker) == main
    stop(main)
    assert child_of(fleet, worker, other_than=main)
    fleet.until_ready(fleet.submit_subject())


def test_a_stopped_beat_is_replaced(fleet):
    beat = fleet.start_module("worker", "beat")
    seen = fleet.settings.data_dir / "beat"
    fleet.until(seen.exists)
    hung = child_of(fleet, beat)
    stop(hung)
    child_of(fleet, beat, other_than=hung)
    swept = seen.stat().st_mtime_ns
    fleet.until(lambda: seen.stat().st_mtime_ns > swept)
    beat.terminate()
    assert beat.wait(30) == 0
