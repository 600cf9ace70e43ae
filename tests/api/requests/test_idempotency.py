"""Requests that are sent again with their Idempotency-Key."""

from __future__ import annotations

import inspect
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from sqlalchemy import func, select, update

from api.app import create_app
from api.deps import WriteSession
from api.requests.idempotency import IdempotencyDep
from storage.database import queries
from storage.database.models import StoredResponse, Verification, now
from storage.tables import idempotency
from tests.api.conftest import AUDIO, VIDEO, check_problem, serving

KEY = {"Idempotency-Key": "3f1c8a52-again"}


def send(client, key=KEY, name="Ann", video=VIDEO, filename="ann.mp4"):
    data = {"name": name, "consent": "Ann agreed to be shown"}
    return client.post("/v1/subjects", data=data, files={"video": (filename, video)}, headers=key)


def subjects(client) -> list[dict]:
    return client.get("/v1/subjects").json()["items"]


def test_the_same_request_is_answered_as_before_and_done_once(client):
    first, again = send(client), send(client)
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json()
    for name in ("location", "retry-after", "content-type"):
        assert first.headers[name] == again.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(subjects(client)) == 1
    assert send(client, key={}).json()["id"] != first.json()["id"]
    assert send(client, key={"Idempotency-Key": "another"}).json()["id"] != first.json()["id"]


def test_a_key_cannot_be_used_for_a_different_request(client, make):
    send(client)
    for other in ({"name": "Bob"}, {"video": VIDEO + b"."}, {"filename": "bob.mp4"}):
        check_problem(send(client, **other), "idempotency_key_reused")
    one, two = make.subject(), make.subject()
    assert client.post(one["jobs"][0]["links"]["cancel"], headers=KEY).json()["state"] == "cancelled"
    check_problem(client.post(two["jobs"][0]["links"]["cancel"], headers=KEY), "idempotency_key_reused")
    assert client.post(two["jobs"][0]["links"]["cancel"]).json()["state"] == "cancelled"


def test_a_repeated_cancel_is_replayed_even_after_the_job_was_retried(client, make):
    links = make.subject()["jobs"][0]["links"]
    cancelled = client.post(links["cancel"], headers=KEY)
    client.post(links["retry"])
    assert client.post(links["cancel"], headers=KEY).json() == cancelled.json()
    assert client.get(links["self"]).json()["state"] == "queued"


def test_a_refused_request_may_be_sent_again_with_its_key(client, make):
    subject = make.subject()

    def ask():
        files = {"audio": ("say.wav", AUDIO)}
        return client.post("/v1/videos", data={"subject_id": subject["id"]}, files=files, headers=KEY)

    check_problem(ask(), "subject_not_ready")
    make.succeed(dataset_key="dataset")
    make.succeed(run_key="run")
    assert ask().status_code == 202
    assert ask().headers["idempotency-replayed"] == "true"


def test_a_video_without_speech_is_requested_once_and_its_duration_is_part_of_the_request(client, make):
    subject = make.ready_subject()

    def ask(**fields):
        data = {"subject_id": subject["id"]} | fields
        return client.post("/v1/videos", files={name: (None, text) for name, text in data.items()}, headers=KEY)

    first, again = ask(duration_s="5"), ask(duration_s="5")
    assert first.status_code == again.status_code == 202
    assert first.json() == again.json() and again.headers["idempotency-replayed"] == "true"
    check_problem(ask(duration_s="6"), "idempotency_key_reused")
    check_problem(ask(duration_s="5", options='{"frame": "portrait"}'), "idempotency_key_reused")
    assert len(client.get("/v1/videos").json()["items"]) == 1


@pytest.mark.parametrize(
    "breaks",
    ["api.responses.serializers.subject", "api.responses.serializers.retry_after", "storage.tables.counters._write"],
)
def test_a_fault_of_the_service_leaves_nothing_and_the_request_is_carried_out_again(client, make, monkeypatch, breaks):
    def broken(*_):
        raise RuntimeError("broken")

    make.subject()  # so that there is something to count when the job is cancelled
    with monkeypatch.context() as patch:
        patch.setattr(breaks, broken)
        if breaks.startswith("storage"):
            (job,) = (job for job in client.get("/v1/jobs").json()["items"])
            check_problem(client.post(job["links"]["cancel"], headers=KEY), "internal_error")
            assert client.get(job["links"]["self"]).json()["state"] == "queued"
        else:
            check_problem(send(client), "internal_error")
            assert len(subjects(client)) == 1
    with make.database.session(write=False) as session:
        assert session.scalar(select(func.count()).select_from(StoredResponse)) == 0
    assert "idempotency-replayed" not in send(client).headers


def test_an_upload_and_its_response_are_durable_together_or_not_at_all(client, make, monkeypatch):
    def begin():
        return client.post("/v1/uploads", headers=KEY | {"Tus-Resumable": "1.0.0", "Upload-Length": "10"})

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "store", lambda *_, **__: 1 / 0)
        check_problem(begin(), "internal_error")
    assert client.get("/v1/uploads").json()["items"] == []
    first, again = begin(), begin()
    assert first.status_code == again.status_code == 201
    assert (first.json(), first.headers["location"]) == (again.json(), again.headers["location"])
    assert first.headers["upload-offset"] == again.headers["upload-offset"] == "0"
    assert [upload["id"] for upload in client.get("/v1/uploads").json()["items"]] == [first.json()["id"]]


def test_a_process_that_dies_while_it_waits_for_a_verification_does_not_cause_a_second_one(client, make, monkeypatch):
    def ask():
        return client.post("/v1/verify", files={"file": ("found.mp4", VIDEO)}, headers=KEY)

    def count():
        with make.database.session(write=False) as session:
            return session.scalar(select(func.count()).select_from(Verification))

    with monkeypatch.context() as patch:
        patch.setattr(idempotency, "store", lambda *_, **__: 1 / 0)
        check_problem(ask(), "internal_error")
    assert count() == 0 and not list(make.store.keys(older_than_s=-60))
    with monkeypatch.context() as patch:
        patch.setattr("api.routes.verify._wait", lambda *_: 1 / 0)
        check_problem(ask(), "internal_error")
    answer = ask()
    assert (answer.status_code, answer.headers["idempotency-replayed"]) == (202, "true")
    assert client.get(answer.headers["location"]).json()["state"] == answer.json()["state"] == "queued"
    assert count() == 1


def test_an_equal_request_in_flight_is_refused(client, make, app):
    arrived, go_on = threading.Event(), threading.Event()

    def slow_body():
        yield b"--cut\r\n"
        arrived.set()
        assert go_on.wait(30)
        yield b"--cut--"  # which is no form

    headers = KEY | {"Content-Type": "multipart/form-data; boundary=cut"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/subjects", content=slow_body(), headers=headers)
        assert arrived.wait(30)
        deadline = now() + timedelta(seconds=30)
        # Waits until the server has seen the first one; an equal one before it would be answered.
        while not app.state.in_flight:
            assert now() < deadline
            time.sleep(0.01)
        answer = send(client)
        check_problem(answer, "idempotency_in_flight")
        assert int(answer.headers["retry-after"]) >= 1
        assert send(client, key={"Idempotency-Key": "another"}).status_code == 202
        go_on.set()
        check_problem(first.result(), "malformed_body")
    assert send(client).status_code == 202


def test_a_client_that_disconnects_frees_its_key(client, make):
    """Its half request is dropped, and the retry is carried out."""
    with httpx.Client(base_url=client.base_url, timeout=30) as other, pytest.raises(httpx.WriteError):
        other.post(
            "/v1/subjects", content=half_a_body(), headers=KEY | {"Content-Type": "multipart/form-data; boundary=c"}
        )
    deadline = now() + timedelta(seconds=30)
    while (answer := send(client)).status_code == 409:
        assert now() < deadline
    assert answer.status_code == 202 and len(subjects(client)) == 1


def half_a_body():
    yield b"--c\r\n"
    raise httpx.WriteError("the connection is lost")


@pytest.fixture(params=["sqlite", "postgresql"])
def two_processes(request, settings, tmp_path):
    """Two applications that know of each other only by their database, as two API processes do."""
    if request.param == "postgresql":
        settings = settings.replace(database_url=request.getfixturevalue("postgresql_url"))
    apps = [create_app(settings), create_app(settings)]
    with serving(apps[0]) as one, serving(apps[1]) as two:
        for url in (one, two):
            # FastAPI makes an application's routes at the first request, and silences warnings meanwhile for the whole
            # process: two at once end each other's silence, and warnings are errors here.
            httpx.get(f"{url}/v1/nothing", timeout=60)
        yield [one, two]


def test_fifty_equal_requests_at_once_make_one_job(two_processes):
    with ThreadPoolExecutor(50) as pool, httpx.Client(timeout=120, limits=httpx.Limits(max_connections=50)) as client:
        start = threading.Barrier(50)

        def one(number):
            start.wait(60)
            files = {"video": ("ann.mp4", VIDEO)}
            return client.post(
                f"{two_processes[number % 2]}/v1/subjects", data={"consent": "yes"}, files=files, headers=KEY
            )

        found = list(pool.map(one, range(50)))
        for answer in found:
            if answer.status_code != 202:
                check_problem(answer, "idempotency_in_flight")
        done = [answer for answer in found if answer.status_code == 202]
        assert len({answer.text for answer in done}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in done) == 1
        assert one_after_all(client, two_processes) == Counter({"preprocess": 1})


def one_after_all(client, urls) -> Counter:
    """The jobs that there are, as both processes tell."""
    told = [Counter(job["kind"] for job in client.get(f"{url}/v1/jobs").json()["items"]) for url in urls]
    assert told[0] == told[1]
    return told[0]


def test_of_two_processes_the_slower_one_replays_the_response_of_the_faster_one(two_processes, monkeypatch):
    """Both have looked for an answer and found none; then both do the work, and one is rolled back."""
    both = threading.Barrier(2)
    find = idempotency.find

    def wait_for_the_other(session, slot):
        kept = find(session, slot)
        if not both.broken and kept is None:
            both.wait(120)
        return kept

    monkeypatch.setattr(idempotency, "find", wait_for_the_other)
    with ThreadPoolExecutor(2) as pool, httpx.Client(timeout=180) as client:
        files = {"video": ("ann.mp4", VIDEO)}

        def ask(url):
            return client.post(f"{url}/v1/subjects", data={"consent": "yes"}, files=files, headers=KEY)

        one, two = pool.map(ask, two_processes)
        assert (one.status_code, two.status_code) == (202, 202)
        assert one.json() == two.json()
        assert ("idempotency-replayed" in one.headers) != ("idempotency-replayed" in two.headers)
        assert one_after_all(client, two_processes) == Counter({"preprocess": 1})


def test_a_key_is_free_again_after_a_day(client, make):
    first = send(client)
    with make.database.session() as session:
        session.execute(update(StoredResponse).values(created_at=now() - timedelta(hours=23)))
    assert send(client).json() == first.json()
    with make.database.session() as session:
        session.execute(update(StoredResponse).values(created_at=now() - timedelta(hours=25)))
    anew = send(client)
    assert anew.status_code == 202 and anew.json()["id"] != first.json()["id"]
    assert send(client).json() == anew.json()
    with make.database.session() as session:
        assert idempotency.delete_expired(session) == 0
        session.execute(update(StoredResponse).values(created_at=now() - timedelta(hours=25)))
        assert idempotency.delete_expired(session) == 1


def test_expired_responses_are_deleted_some_at_a_time(client, make, monkeypatch):
    monkeypatch.setattr(queries, "AT_ONCE", 2)
    for number in range(3):
        assert send(client, key={"Idempotency-Key": str(number)}).status_code == 202
    with make.database.session() as session:
        session.execute(update(StoredResponse).values(created_at=now() - timedelta(hours=25)))
        assert [idempotency.delete_expired(session) for _ in range(3)] == [2, 1, 0]


def test_the_oldest_responses_of_an_owner_beyond_a_number_are_deleted(client, make, monkeypatch):
    monkeypatch.setattr(idempotency, "MAX_STORED", 2)
    monkeypatch.setattr(idempotency, "FORGET_EVERY", 1)
    sent = [send(client, key={"Idempotency-Key": str(number)}).json() for number in range(3)]
    again = [send(client, key={"Idempotency-Key": str(number)}).json() for number in (2, 1, 0)]
    assert [each in sent for each in again] == [True, True, False]
    with make.database.session(write=False) as session:
        assert session.scalar(select(func.count()).select_from(StoredResponse)) == 2


@pytest.mark.parametrize("key", ["", "with space", "x" * 256, "schlüssel".encode()])
def test_an_invalid_key_is_refused(client, key):
    body = check_problem(send(client, key={"Idempotency-Key": key}), "validation_failed")
    assert body["errors"][0]["parameter"] == "Idempotency-Key"
    assert subjects(client) == []


def test_a_response_with_a_secret_is_not_stored(app):
    class Secret(BaseModel):
        secret: str

    made = []

    @app.post("/secret", response_model=Secret)
    def secret(idempotency: IdempotencyDep, session: WriteSession):
        made.append("one")
        return idempotency.respond(session, Secret(secret="s3cret"), headers={"Cache-Control": "no-store"})

    with serving(app) as url, httpx.Client(base_url=url) as client:
        assert client.post("/secret", headers=KEY).json() == {"secret": "s3cret"}
        check_problem(client.post("/secret", headers=KEY), "answer_not_kept")
    assert made == ["one"]


def test_every_route_that_takes_a_post_is_idempotent(app):
    posts = [each for each in iter_route_contexts(app.routes) if "POST" in (each.methods or ())]
    assert len(posts) >= 4
    for each in posts:
        if each.path.endswith(("/preview-frame", "/export")):
            continue  # they create nothing, and their answers are files
        parameters = app.openapi()["paths"][each.path]["post"]["parameters"]
        assert "Idempotency-Key" in [parameter["name"] for parameter in parameters]
        source = inspect.getsource(each.original_route.endpoint)
        assert "idempotency.respond(" in source or "_respond(idempotency" in source, f"{each.path} stores no response"


def stored_bodies(app):
    with app.state.database.session(write=False) as session:
        return [row.body or "" for row in session.scalars(select(StoredResponse))]


def test_deleting_a_subject_erases_its_stored_responses_and_does_not_bring_it_back(client, app):
    subject = send(client).json()
    other = send(client, key={"Idempotency-Key": "other"}).json()
    client.post(subject["jobs"][0]["links"]["cancel"], headers=KEY)
    assert client.delete(f"/v1/subjects/{subject['id']}").status_code == 204
    assert not any(subject["id"] in body for body in stored_bodies(app))
    assert any("Ann agreed" in body for body in stored_bodies(app))  # the other subject's
    refused = check_problem(send(client), "answer_not_kept")
    assert "deleted" in refused["detail"] and "another key" in refused["remedy"]
    assert [each["id"] for each in subjects(client)] == [other["id"]]


def test_a_purge_erases_the_stored_responses_before_it(client, app):
    subject = send(client).json()
    withdraw = f"/v1/subjects/{subject['id']}/withdraw-consent"
    assert client.post(withdraw, json={"purge": True}).status_code == 200
    assert not any(subject["id"] in body for body in stored_bodies(app))


def test_deleting_a_video_erases_its_stored_responses(client, app, make):
    subject = make.ready_subject()
    form = {"data": {"subject_id": subject["id"]}, "files": {"audio": ("say.wav", AUDIO)}, "headers": KEY}
    video = client.post("/v1/videos", **form).json()
    client.delete(f"/v1/videos/{video['id']}")
    assert not any(video["id"] in body for body in stored_bodies(app))
