"""Server-sent events of jobs, over real connections."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import NamedTuple

import httpx
import pytest
from sqlalchemy import update

from api.responses import job_events as watch
from storage.database.models import LOCAL, JobEvent, now
from storage.settings import environment_of
from storage.tables import api_keys, job_events, jobs
from tests.api.conftest import VIDEO, check_problem
from tests.servers import free_port


class Told(NamedTuple):
    """One event as it came; `id` is None where it has none."""

    name: str
    id: int | None
    data: dict


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request, settings):
    if request.param == "postgresql":
        return settings.replace(database_url=request.getfixturevalue("postgresql_url"))
    return settings


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watch, "POLL_S", 0.02)


@contextmanager
def following(
    client, job: dict, last: int | str | None = None, headers: dict[str, str] | None = None
) -> Iterator[Iterator[Told]]:
    """The events of a job as they come; the block's end ends the connection."""
    headers = (headers or {}) | ({} if last is None else {"Last-Event-ID": str(last)})
    with client.stream("GET", f"/v1/jobs/{job['id']}/events", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[Told]:
    said: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            said[name] = value.strip()
        elif "data" in said:
            yield Told(said["event"], int(said["id"]) if "id" in said else None, json.loads(said["data"]))
            said = {}


def standing(event: Told) -> tuple:
    return event.name, event.data["state"], event.data["stage"], event.data["progress"]


def beat(make, job, stage: str, progress: float) -> None:
    with make.database.session() as session:
        assert jobs.heartbeat(session, job.id, job.attempt, jobs.JobProgress(stage, progress, 9.0), lease_s=60)


def test_a_job_is_followed_from_the_queue_to_its_end(client, make, quick):
    job = make.subject()["jobs"][0]
    with following(client, job) as told:
        first = next(told)
        assert standing(first) == ("state", "queued", None, 0)
        asked = client.get(job["links"]["self"]).json()
        assert first.data == asked | {"eta_s": None}  # events do not estimate how long a queued job waits
        claimed = make.claim()
        assert standing(next(told)) == ("state", "running", None, 0)
        beat(make, claimed, "survey", 0.25)
        assert standing(next(told)) == ("stage", "running", "survey", 0.25)
        beat(make, claimed, "survey", 0.5)
        assert standing(next(told)) == ("progress", "running", "survey", 0.5)
        with make.database.session() as session:
            jobs.succeed(session, claimed.id, claimed.attempt, dataset_key="d")
        last = next(told)
        assert standing(last) == ("state", "succeeded", "survey", 1)
        assert last.data == client.get(job["links"]["self"]).json()
        assert list(told) == []  # the answer has ended


def test_nothing_that_happened_between_two_looks_is_left_out(client, make, monkeypatch):
    monkeypatch.setattr(watch, "POLL_S", 0.5)
    job = make.subject()["jobs"][0]
    with following(client, job) as told:
        first = next(told)
        claimed = make.claim()
        for stage in ("survey", "track", "track", "pose"):
            beat(make, claimed, stage, 0.5)
        with make.database.session() as session:
            jobs.fail(session, claimed.id, claimed.attempt, {"code": "no_face_found", "message": "m", "remedy": "r"})
        rest = list(told)
    seen = [(each.name, each.data["state"], each.data["stage"]) for each in rest if each.name in ("state", "stage")]
    assert seen == [
        ("state", "running", None),
        ("stage", "running", "survey"),
        ("stage", "running", "track"),
        ("stage", "running", "pose"),
        ("state", "failed", "pose"),
    ]
    ids = [first.id, *(each.id for each in rest)]
    assert ids == sorted(set(ids))
    assert rest[-1].data["error"]["code"] == "no_face_found" and rest[0].data["error"] is None


def test_who_comes_back_hears_what_happened_since(client, make, quick):
    job = make.subject()["jobs"][0]
    with following(client, job) as told:
        heard = next(told).id
    claimed = make.claim()
    beat(make, claimed, "survey", 0.1)
    beat(make, claimed, "track", 0.2)
    beat(make, claimed, "track", 0.3)
    with following(client, job, heard) as told:
        found = [next(told) for _ in range(4)]
        assert [standing(each) for each in found] == [
            ("state", "running", None, 0),
            ("stage", "running", "survey", 0.1),
            ("stage", "running", "track", 0.2),
            ("progress", "running", "track", 0.3),
        ]
        heard = found[-1].id
    client.post(job["links"]["cancel"])
    client.post(job["links"]["retry"])
    with following(client, job, heard) as told:  # it was over in between, and is not now
        assert [standing(next(told))[:2] for _ in range(2)] == [("state", "cancelled"), ("state", "queued")]
        client.post(job["links"]["cancel"])
        ended = list(told)
        assert [standing(each)[:2] for each in ended] == [("state", "cancelled")]


def test_after_the_end_of_a_job_its_end_is_told_once(client, make):
    job = make.subject()["jobs"][0]
    client.post(job["links"]["cancel"])
    with following(client, job) as told:
        (end,) = told
    assert standing(end)[:2] == ("state", "cancelled")
    answer = client.get(f"{job['links']['self']}/events", headers={"Last-Event-ID": str(end.id)})
    assert (answer.status_code, answer.content) == (204, b"")
    for other in ("x", "999", "-1", "1" * 5000, "", "٣"):
        answer = client.get(f"{job['links']['self']}/events", headers={"Last-Event-ID": other.encode()})
        assert answer.text.count("event: state") == 1


def test_what_is_no_longer_noted_is_not_needed(client, make, quick):
    job = make.subject()["jobs"][0]
    with following(client, job) as told:
        heard = next(told).id
    claimed = make.claim()
    beat(make, claimed, "track", 0.2)
    with make.database.session() as session:
        session.execute(update(JobEvent).values(at=now() - timedelta(hours=25)))
        assert job_events.delete_expired(session) == 3
    with following(client, job, heard) as told:
        assert standing(next(told)) == ("progress", "running", "track", 0.2)
    client.post(job["links"]["cancel"])
    with make.database.session() as session:
        session.execute(update(JobEvent).values(at=now() - timedelta(hours=25)))
        job_events.delete_expired(session)
    with following(client, job, heard) as told:
        assert [standing(each)[:2] for each in told] == [("state", "cancelled")]


def test_the_place_in_the_queue_is_told_as_it_changes(client, make, quick):
    ahead, job = make.subject()["jobs"][0], make.subject()["jobs"][0]
    with following(client, job) as told:
        assert next(told).data["queue_position"] == 2
        client.post(ahead["links"]["cancel"])
        moved = next(told)
        assert (moved.name, moved.data["state"], moved.data["queue_position"]) == ("queue", "queued", 1)


def test_of_a_job_that_is_deleted_that_is_told(client, make, quick):
    subject = make.subject()
    job = subject["jobs"][0]
    with following(client, job) as told:
        next(told)
        client.delete(subject["links"]["self"])
        assert list(told) == [Told("deleted", None, {"id": job["id"]})]
    check_problem(client.get(f"{job['links']['self']}/events"), "not_found")


def test_silence_is_broken_by_comments(client, make, monkeypatch):
    monkeypatch.setattr(watch, "KEEP_ALIVE_S", 0.05)
    job = make.subject()["jobs"][0]
    with client.stream("GET", f"{job['links']['self']}/events") as answer:
        lines = answer.iter_lines()
        found = [next(lines) for _ in range(12)]
    assert found[0] == "retry: 2000"
    assert sum(line.startswith(":") for line in found) >= 2


def test_listeners_hold_no_connection_to_the_database_and_leave_nothing(client, app, make, quick):
    job = make.subject()["jobs"][0]
    with httpx.Client(base_url=client.base_url, timeout=60, limits=httpx.Limits(max_connections=None)) as many:
        open_ones = [following(many, job) for _ in range(40)]  # the pool has 15 connections
        told = [each.__enter__() for each in open_ones]
        assert {next(each).data["state"] for each in told} == {"queued"}
        assert client.get("/v1/jobs").status_code == 200
        make.claim()
        assert {next(each).data["state"] for each in told} == {"running"}
        for each in open_ones:
            each.__exit__(None, None, None)
    deadline = now() + timedelta(seconds=30)
    while app.state.job_event_hub.subscribers:
        assert now() < deadline


def test_an_owner_has_a_limited_number_of_streams_and_gets_them_back_at_once(client, make, app, quick):
    app.state.job_event_hub._streams_per_owner = 3
    job = make.subject()["jobs"][0]
    events = f"{job['links']['self']}/events"
    with ExitStack() as stack:
        followed = [stack.enter_context(following(client, job)) for _ in range(3)]
        assert {next(each).name for each in followed} == {"state"}
        refused = client.get(events)
        check_problem(refused, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        assert client.get(job["links"]["self"]).status_code == 200
        with make.database.session() as session:
            _, token = api_keys.create(session, owner="ann", name="k", scopes=["read"])
        other = client.get(events, headers={"Authorization": f"Bearer {token}"})
        check_problem(other, "not_found")  # another owner's streams are counted apart
        with make.database.session() as session:
            _, token = api_keys.create(session, owner=LOCAL, name="k", scopes=["read"])
        client.headers["Authorization"] = f"Bearer {token}"
    assert streams_are_free(app)
    for _ in range(5):
        with following(client, job) as told:
            next(told)
    assert streams_are_free(app)


def test_all_owners_together_have_a_limited_number_of_streams(client, make, app, quick):
    app.state.job_event_hub.max_streams = 2
    job = make.subject()["jobs"][0]
    with following(client, job) as one, following(client, job) as two:
        next(one), next(two)
        refused = client.get(f"{job['links']['self']}/events")
        check_problem(refused, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
    assert streams_are_free(app)


def test_clients_that_vanish_free_their_streams(client, make, app, quick):
    """Connections that are reset, not closed."""
    job = make.subject()["jobs"][0]
    lost = [socket.create_connection((client.base_url.host, client.base_url.port)) for _ in range(20)]
    for connection in lost:
        connection.sendall(
            f"GET {job['links']['self']}/events HTTP/1.1\r\nHost: {client.base_url.host}\r\n\r\n".encode()
        )
    until(lambda: app.state.job_event_hub.subscribers == 20)
    assert app.state.job_event_hub._streams[LOCAL] == 20
    for connection in lost:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    assert streams_are_free(app)


def streams_are_free(app) -> bool:
    """Whether all streams are given back within a second of their end."""
    until(lambda: app.state.job_event_hub._streams.total() == 0, timeout_s=2)
    return not app.state.job_event_hub._streams


def until(true, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_listener_that_does_not_listen_is_told_no_more_than_it_takes(app, make):
    """It hears all changes of state once it listens again, and only the last progress."""
    job = make.subject()["jobs"][0]
    with app.state.database.session(write=False) as session:
        row = session.get(jobs.Job, job["id"])
        subscription = watch.subscribe(session, row, None)
    subscriber = watch.Subscriber([], subscription.cursor)
    claimed = make.claim()
    for progress in (0.1, 0.2, 0.3):
        beat(make, claimed, "track", progress)
        subscriber.push(watch.poll(app.state.database, {job["id"]: {subscriber.cursor}}).get(job["id"]) or [])
    assert [(each.name, each.job.progress) for each in subscriber.pending] == [("state", 0), ("stage", 0.1)]
    subscriber.pending = []
    subscriber.push(watch.poll(app.state.database, {job["id"]: {subscriber.cursor}})[job["id"]])
    assert [(each.name, each.job.progress) for each in subscriber.pending] == [("progress", 0.3)]
    assert watch.poll(app.state.database, {job["id"]: {subscriber.cursor}}) == {}


@pytest.mark.parametrize("end", ["revoked", "expired", "rotated at once"])
def test_it_ends_with_the_key_that_asked_for_it(client, make, quick, monkeypatch, end):
    monkeypatch.setattr(watch, "CHECK_S", 0.05)
    ends = {"expired": {"expires_at": now()}, "rotated at once": {"grace_s": 0}}
    job = make.subject()["jobs"][0]
    with make.database.session() as session:
        key, token = api_keys.create(session, owner=LOCAL, name="k", scopes=["read"])
        _, other = api_keys.create(session, owner=LOCAL, name="other", scopes=["read"])
    lost, kept = ({"Authorization": f"Bearer {each}"} for each in (token, other))
    with following(client, job, headers=lost) as told, following(client, job, headers=kept) as others:
        assert next(told).data["state"] == next(others).data["state"] == "queued"
        with make.database.session() as session:
            if end == "revoked":
                api_keys.revoke(session, key.id)
            else:
                api_keys.rotate(session, key.id, **ends[end])
        assert list(told) == []
        check_problem(client.get(f"{job['links']['self']}/events", headers=lost), "unauthorized")
        make.claim()
        assert next(others).data["state"] == "running"


def test_it_ends_with_the_time_without_keys(client, make, quick, monkeypatch):
    monkeypatch.setattr(watch, "CHECK_S", 0.05)
    with following(client, make.subject()["jobs"][0]) as told:
        assert next(told).data["state"] == "queued"
        with make.database.session() as session:
            api_keys.create(session, owner=LOCAL, name="first", scopes=["read"])
        assert list(told) == []


def test_the_database_may_be_away_for_a_moment(client, app, make, quick, monkeypatch, caplog):
    job = make.subject()["jobs"][0]
    poll = watch.poll
    failed = []

    def away_at_first(*given):
        if len(failed) < 3:
            failed.append(1)
            raise OSError("the network is gone")
        return poll(*given)

    monkeypatch.setattr(watch, "poll", away_at_first)
    with following(client, job) as told:
        next(told)
        client.post(job["links"]["cancel"])
        assert standing(next(told))[:2] == ("state", "cancelled")
    assert len(failed) == 3 and "cannot poll" in caplog.text


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_the_service_stops_at_once_whoever_listens(settings):
    """A real process, told to stop while somebody follows a job."""
    port = free_port()
    command = [sys.executable, "-m", "api", "--port", str(port)]
    process = subprocess.Popen(command, env=environment_of(settings), stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            await_answer(client)
            data = {"consent": "yes"}
            subject = client.post("/v1/subjects", data=data, files={"video": ("a.mp4", VIDEO)}).json()
            with following(client, subject["jobs"][0]) as told:
                next(told)
                process.send_signal(signal.SIGTERM)
                assert list(told) == []  # ended, not cut off: that would raise
        _, errors = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGTERM)
        assert "graceful" not in errors and "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


def await_answer(client) -> None:
    deadline = now() + timedelta(seconds=120)
    while True:
        try:
            client.get("/healthz")
            return
        except httpx.TransportError:
            assert now() < deadline
            time.sleep(0.1)
