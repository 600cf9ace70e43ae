"""The checks of the chaos experiments find lost jobs, damaged files and repeated work."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from benchmarks.chaos.attempts import Interrupted, blameless, counted
from benchmarks.chaos.cable import Cable
from benchmarks.chaos.clients import Ledger
from benchmarks.chaos.clock import Clocks
from benchmarks.chaos.core import Step
from benchmarks.chaos.outcome import Outcome, spread
from benchmarks.chaos.storm import audit, check_objects, recoveries, repeated
from storage import object_places


def job(job_id, kind="render", state="succeeded", error=None):
    return SimpleNamespace(id=job_id, kind=kind, state=state, error=error, subject_id=f"of {job_id}", attempt=1)


def audited(*jobs, promised, published):
    outcome = Outcome("storm")
    ledger = Ledger(promised=dict.fromkeys(promised, "render"))
    audit(outcome, SimpleNamespace(moves=lambda move: published), {job.id: job for job in jobs}, ledger)
    return outcome


def test_jobs_that_have_all_ended_once_pass():
    outcome = audited(job("a"), job("b", state="failed", error={"code": "no_face"}), promised="ab", published=1)
    assert outcome.broken == []
    assert outcome.figures["failed_with_reason"] == {"no_face": 1}


@pytest.mark.parametrize(
    ("jobs", "promised", "published", "sentence"),
    [
        ([job("a")], "ab", 1, "lost: ['b']"),
        ([job("a"), job("b", state="running")], "ab", 1, "lost: ['b']"),
        ([job("a"), job("b", state="queued")], "a", 1, "lost: ['b']"),
        ([job("a", kind="preprocess")], "a", 1, "lost: ['training of of a']"),
        ([job("a")], "a", 2, "2 results for 1 jobs"),
        ([job("a", state="failed")], "a", 0, "a job failed without a reason"),
    ],
)
def test_lost_jobs_and_second_results_are_found(jobs, promised, published, sentence):
    assert sentence in audited(*jobs, promised=promised, published=published).broken


def test_files_that_are_damaged_or_change_are_found():
    def digest(content):
        return f'"{hashlib.sha256(content).hexdigest()}"'

    ledger = Ledger()
    ledger.serve("vid", b"whole", b"whole", digest(b"whole"))
    assert ledger.damaged == []
    ledger.serve("vid", b"who", b"whole", digest(b"who"))
    ledger.serve("vid", b"whole", b"whole", digest(b"other"))
    ledger.serve("vid", b"new", b"new", digest(b"new"))
    assert len(ledger.damaged) == 3


def test_repeated_work_and_recovery_times_are_read_from_the_journal():
    steps = [
        Step(1.0, "a", 1, "track", 0, 7),
        Step(2.0, "a", 1, "track", 1, 7),
        Step(5.0, "a", 2, "track", 0, 8),
        Step(6.0, "a", 2, "track", 1, 8),
        Step(7.0, "b", 1, "head", 0, 8),
    ]
    service = SimpleNamespace(steps=lambda: steps)
    work = repeated(service)
    assert (work["steps"], work["again"], work["share_track"], work["share_head"]) == (5, 2, 0.5, 0.0)
    kills = [Interrupted("kill worker", 2.5, "a", 1), Interrupted("freeze worker", 8.0, "b", 1)]
    assert recoveries(service, kills) == recoveries(service, kills, "kill worker") == [2.5]
    assert recoveries(service, kills, "freeze worker") == []


def change(state, attempt, max_attempts=3, code=None):
    error = None if code is None else {"code": code}
    return {"state": state, "attempt": attempt, "max_attempts": max_attempts, "error": error}


@pytest.mark.parametrize(
    ("changes", "attempts"),
    [
        ([change("queued", 0), change("running", 1), change("succeeded", 1)], []),
        ([change("running", 1), change("queued", 1), change("running", 2)], [1]),
        ([change("running", 1), change("queued", 1, 4), change("running", 2, 4), change("queued", 2, 4)], [2]),
        ([change("running", 3), change("failed", 3, code="worker_lost")], [3]),
        ([change("running", 1), change("failed", 1, code="no_face"), change("queued", 1, 4)], []),
        ([change("running", 1), change("cancelled", 1), change("queued", 1, 4), change("running", 2, 4)], []),
    ],
)
def test_attempts_that_count_are_read_from_the_changes_of_a_job(changes, attempts):
    assert counted(changes) == attempts


def test_attempts_without_a_fault_that_may_count_are_found():
    killed = Interrupted("kill worker", 1.0, "a", 1)
    assert blameless([("a", 1)], [killed]) == []
    assert blameless([("a", 2), ("b", 1), ("a", 1)], [killed]) == [("a", 2), ("b", 1)]


def test_an_object_that_a_row_names_and_the_store_lacks_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(object_places, "named_keys", lambda session: {"subjects/a/runs/1", "subjects/a/runs/2"})
    (tmp_path / "subjects/a/runs").mkdir(parents=True)
    (tmp_path / "subjects/a/runs/1").touch()
    database = SimpleNamespace(session=lambda write: nullcontext())
    outcome = Outcome("storm")
    check_objects(outcome, SimpleNamespace(database=database, objects=tmp_path))
    assert outcome.figures == {"objects_named": 2, "erased": 1}
    assert outcome.broken == ["erased: ['subjects/a/runs/2']"]


def test_clocks_leap_forward_and_back_while_a_process_runs(tmp_path):
    clocks = Clocks(tmp_path / "clocks")
    program = "import time\nwhile input(): print(time.time(), time.monotonic(), flush=True)"
    environment = os.environ | clocks.environment("one")
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def read():
            print("read", file=process.stdin, flush=True)
            wall, monotonic = map(float, process.stdout.readline().split())
            return wall - time.time(), monotonic - time.monotonic()

        for leap, name, ahead in ((0, None, 0), (1000, None, 1000), (-400, "one", 600), (5, "another", 600)):
            clocks.leap(leap, name)
            time.sleep(1.0)  # the clocks are read anew every second
            assert read() == pytest.approx((ahead, 0), abs=30)
        print(file=process.stdin, flush=True)
    clocks.close()


def test_percentiles_are_measured_values():
    assert spread([3.0, 1.0, 2.0]) == {"count": 3, "p50": 2.0, "p95": 3.0, "max": 3.0}
    assert spread([]) == {"count": 0}


def test_a_frozen_cable_delivers_bytes_later_and_a_cut_one_refuses_connections():
    with socket.create_server(("127.0.0.1", 0)) as server:
        cable = Cable(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", cable.port)) as near:
            far, _ = server.accept()
            near.sendall(b"before")
            assert far.recv(100) == b"before"
            cable.freeze()
            near.sendall(b"frozen")
            far.settimeout(0.2)
            with pytest.raises(TimeoutError):
                far.recv(100)
            cable.mend()
            far.settimeout(10)
            assert far.recv(100) == b"frozen"
            cable.cut()
            assert far.recv(100) == b""
            far.close()
        with socket.create_connection(("127.0.0.1", cable.port)) as refused:
            assert refused.recv(100) == b""
        cable.close()
