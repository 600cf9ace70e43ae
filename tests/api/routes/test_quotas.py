"""Quotas: what is one too many is refused, however many ask at once, and nothing of it stays."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from api.app import create_app
from api.requests import arrivals
from api.routes import verify
from storage.tables import api_keys, quotas, verifications, workers
from storage.tables.estimates import FIRST_S
from tests.api.conftest import AUDIO, VIDEO, Maker, check_problem, serving

AT_ONCE = 50
HEAD = (
    b'--b\r\nContent-Disposition: form-data; name="consent"\r\n\r\nyes\r\n'
    b'--b\r\nContent-Disposition: form-data; name="video"; filename="a.mp4"\r\n\r\n'
)
TAIL = b"\r\n--b--\r\n"
"""The beginning and the end of a form whose file is between them."""


def a_key(app, owner, *scopes):
    with app.state.database.session() as session:
        return {"Authorization": f"Bearer {api_keys.create(session, owner=owner, name='k', scopes=scopes)[1]}"}


@pytest.fixture
def tight(settings):
    """(client, maker) of a service whose quotas are as given to it."""
    opened = []

    def start(**limits):
        app = create_app(settings.replace(**{f"quota_{name}": limit for name, limit in limits.items()}))
        server = serving(app)
        client = httpx.Client(base_url=server.__enter__(), timeout=60)
        opened.append((client, server))
        return client, Maker(client, app)

    yield start
    for client, server in opened:
        client.close()
        server.__exit__(None, None, None)


def until(condition):
    """Waits for the condition."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def send_subject(client, **more):
    data = {"name": "Ann", "consent": "Ann agreed to be shown"}
    return client.post("/v1/subjects", data=data, files={"video": ("a.mp4", VIDEO)}, **more)


def send_video(client, subject, **more):
    return client.post("/v1/videos", data={"subject_id": subject["id"]}, files={"audio": ("s.wav", AUDIO)}, **more)


def refused(answer, name, limit):
    body = check_problem(answer, "quota_exceeded")
    assert body["quota"] == {"name": name, "limit": limit}
    assert name in body["detail"] and "operator" in body["detail"]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_fifty_requests_at_once_exactly_the_allowed_number_succeeds(request, settings, kind):
    if kind == "postgresql":
        settings = settings.replace(database_url=request.getfixturevalue("postgresql_url"))
    app = create_app(settings.replace(quota_subjects=7))
    ann, bob = (a_key(app, owner, "read", "write") for owner in ("ann", "bob"))
    with serving(app) as url, httpx.Client(base_url=url, timeout=120) as client, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda _: send_subject(client, headers=ann), range(AT_ONCE)))
        assert sorted(answer.status_code for answer in answers) == [202] * 7 + [403] * (AT_ONCE - 7)
        refused(next(answer for answer in answers if answer.status_code == 403), "subjects", 7)
        ids = {answer.json()["id"] for answer in answers if answer.status_code == 202}
        assert {item["id"] for item in client.get("/v1/subjects", headers=ann).json()["items"]} == ids
        assert {path.name for path in (settings.objects / "subjects").iterdir()} == ids
        assert send_subject(client, headers=bob).status_code == 202  # whose quota is another one
        client.delete(f"/v1/subjects/{ids.pop()}", headers=ann)
        assert send_subject(client, headers=ann).status_code == 202


def test_videos_count_also_when_they_were_cancelled(tight):
    client, make = tight(videos=1)
    subject = make.ready_subject()
    video = send_video(client, subject).json()
    assert client.post(video["job"]["links"]["cancel"]).status_code == 200
    refused(send_video(client, subject), "videos", 1)
    assert client.get("/v1/me").json()["quotas"]["videos"] == {"limit": 1, "used": 1}
    assert client.delete(video["links"]["self"]).status_code == 204
    assert send_video(client, subject).status_code == 202


def test_queued_jobs(tight):
    client, make = tight(queued_jobs=2)
    first = [send_subject(client).json() for _ in range(2)]
    refused(send_subject(client), "queued_jobs", 2)
    cancelled = first[0]["jobs"][0]["links"]
    client.post(cancelled["cancel"])
    assert send_subject(client).status_code == 202
    refused(client.post(cancelled["retry"]), "queued_jobs", 2)
    assert client.get(cancelled["self"]).json()["state"] == "cancelled"
    make.claim()
    assert client.post(cancelled["retry"]).json()["state"] == "queued"


def test_files_to_be_verified(tight, monkeypatch):
    monkeypatch.setattr(verify, "WAIT_S", 0.0)
    client, make = tight(verifications=2)
    files = {"file": ("found.mp4", VIDEO)}
    asked = [client.post("/v1/verify", files=files) for _ in range(2)]
    assert [answer.status_code for answer in asked] == [202, 202]
    refused(client.post("/v1/verify", files=files), "verifications", 2)
    with make.database.session() as session:
        assert verifications.fail(session, verifications.claim(session), verifications.WORKER_LOST)
    assert client.get("/v1/me").json()["quotas"]["verifications"] == {"limit": 2, "used": 1}
    assert client.post("/v1/verify", files=files).status_code == 202


def test_seconds_of_video_a_day(tight, monkeypatch):
    client, make = tight(daily_seconds=3)
    subject = make.ready_subject()
    videos = [make.ready_video(subject, b"film") for _ in range(2)]  # of two seconds each
    refused(send_video(client, subject), "daily_seconds", 3)
    assert client.delete(videos[0]["links"]["self"]).status_code == 204
    refused(send_video(client, subject), "daily_seconds", 3)  # they were rendered all the same
    monkeypatch.setattr(quotas, "_today", lambda: "2100-01-01")
    assert send_video(client, subject).status_code == 202


def test_a_retry_needs_seconds_of_the_day_as_a_new_video_does(tight):
    client, make = tight(daily_seconds=3)
    subject = make.ready_subject()
    cancelled = send_video(client, subject).json()["job"]["links"]
    client.post(cancelled["cancel"])
    silent = client.post("/v1/videos", files={"subject_id": (None, subject["id"]), "duration_s": (None, "2")}).json()
    client.post(silent["job"]["links"]["cancel"])
    make.ready_video(subject, b"film")  # of two seconds
    refused(client.post(silent["job"]["links"]["retry"]), "daily_seconds", 3)
    assert client.post(cancelled["retry"]).status_code == 200
    client.post(cancelled["cancel"])
    make.ready_video(subject, b"film")
    refused(client.post(cancelled["retry"]), "daily_seconds", 3)
    assert client.get(cancelled["self"]).json()["state"] == "cancelled"


def test_a_video_without_speech_is_refused_if_it_is_longer_than_what_is_left_of_the_day(tight):
    client, make = tight(daily_seconds=10)
    subject = make.ready_subject()

    def ask(duration_s):
        form = {"subject_id": (None, subject["id"]), "duration_s": (None, str(duration_s))}
        return client.post("/v1/videos", files=form)

    make.ready_video(subject, b"film")  # of two seconds
    refused(ask(8.5), "daily_seconds", 10)
    assert ask(8).status_code == 202
    make.succeed(duration_s=8.0)
    refused(ask(1), "daily_seconds", 10)
    assert client.get("/v1/me").json()["quotas"]["daily_seconds"]["used"] == 10


def test_bytes_stored(tight):
    client, make = tight(stored_bytes=2 * len(VIDEO) + len(AUDIO) + 10)
    subject = make.ready_subject()
    video = make.video(subject)
    make.succeed(duration_s=2.0, stored=10)
    assert client.get("/v1/me").json()["quotas"]["stored_bytes"]["used"] == len(VIDEO) + len(AUDIO) + 10
    full = send_subject(client).json()
    refused(send_subject(client), "stored_bytes", 2 * len(VIDEO) + len(AUDIO) + 10)
    upload = client.post("/v1/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "1"})
    check_problem(upload, "quota_exceeded")
    client.delete(full["links"]["self"])
    client.delete(video["links"]["self"])
    assert client.get("/v1/me").json()["quotas"]["stored_bytes"]["used"] == len(VIDEO)


def test_a_quota_refuses_before_the_body_is_read_but_stored_responses_are_replayed(tight):
    client, _ = tight(subjects=1)
    once = {"Idempotency-Key": "once"}
    first = send_subject(client, headers=once)
    assert (first.status_code, send_subject(client, headers=once).json()) == (202, first.json())
    check_problem(client.post("/v1/subjects", content=b"no form at all"), "quota_exceeded")
    check_problem(send_subject(client, headers={"Idempotency-Key": "twice"}), "quota_exceeded")


def test_an_administrator_changes_quotas(settings):
    app = create_app(settings.replace(quota_subjects=1))
    ann, admin = a_key(app, "ann", "read", "write"), a_key(app, "operator", "read", "write", "admin")
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        send_subject(client, headers=ann)
        check_problem(send_subject(client, headers=ann), "quota_exceeded")
        changed = client.patch("/v1/owners/ann", json={"subjects": 2}, headers=admin).json()
        assert changed["name"] == "ann" and changed["quotas"]["subjects"] == {"limit": 2, "used": 1}
        assert send_subject(client, headers=ann).status_code == 202
        back = client.patch("/v1/owners/ann", json={"subjects": None}, headers=admin).json()
        assert back["quotas"]["subjects"] == {"limit": 1, "used": 2}
        assert client.get("/v1/owners/ann", headers=admin).json() == back
        assert client.get("/v1/me", headers=ann).json()["quotas"] == back["quotas"]
        for wrong in (-1, 1.5, False, "5", [5]):
            check_problem(client.patch("/v1/owners/ann", json={"subjects": wrong}, headers=admin), "validation_failed")
        whole = client.patch("/v1/owners/ann", json={"subjects": 5.0}, headers=admin)
        assert whole.json()["quotas"]["subjects"]["limit"] == 5
        check_problem(client.get("/v1/owners/an n", headers=admin), "validation_failed")
        for method in ("GET", "PATCH"):
            check_problem(client.request(method, "/v1/owners/ann", json={}, headers=ann), "forbidden")


def test_me_shows_owner_scopes_key_and_quotas(client, app):
    me = client.get("/v1/me").json()
    assert (me["owner"], me["key"], "admin" in me["scopes"]) == ("local", None, True)
    ann = a_key(app, "ann", "read")
    me = client.get("/v1/me", headers=ann).json()
    assert (me["owner"], me["scopes"], me["key"]["owner"]) == ("ann", ["read"], "ann")
    assert set(me["quotas"]) == set(quotas.NAMES)
    assert all(quota["used"] == 0 < quota["limit"] for quota in me["quotas"].values())
    assert [each["name"] for each in me["presets"]] == ["draft", "standard", "high", "paper"]
    assert me["presets"][0]["ready_s"] == FIRST_S["preprocess", None] + FIRST_S["train", "draft"]
    with app.state.database.session() as session:
        workers.register(session, "w", host="h", queues=["cpu"], device={"name": "cpu"})
    assert "paper" not in str(client.get("/v1/me", headers=ann).json()["presets"])
    with app.state.database.session() as session:
        workers.register(session, "w", host="h", queues=["cpu"], device={"name": "H200", "memory_bytes": 1})
    assert "paper" in str(client.get("/v1/me", headers=ann).json()["presets"])


def test_a_key_for_a_repeated_request_does_not_put_off_the_refusal(tight):
    client, _ = tight(subjects=1)
    key = {"Idempotency-Key": "first"}
    first = send_subject(client, headers=key)
    assert first.status_code == 202
    assert send_subject(client, headers=key).json() == first.json()
    form = {"Content-Type": "multipart/form-data; boundary=cut", "Idempotency-Key": "second"}
    refused(client.post("/v1/subjects", content=b"no form", headers=form), "subjects", 1)


def test_bytes_count_while_they_arrive(tight, monkeypatch):
    """Two bodies fit the quota each, but not together: the second is refused before a byte of either is stored."""
    monkeypatch.setattr(arrivals, "CHECK_BYTES", 10_000)
    client, make = tight(stored_bytes=150_000)
    go_on = threading.Event()

    def body():
        yield HEAD + VIDEO
        yield bytes(80_000)
        assert go_on.wait(30)
        yield TAIL

    whole = HEAD + VIDEO + bytes(80_000) + TAIL
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/subjects", content=body(), headers=headers)
        try:
            until(lambda: sum(make.app.state.arrivals._bytes.values()) > 80_000)
            refused(client.post("/v1/subjects", content=whole, headers=headers), "stored_bytes", 150_000)
        finally:
            go_on.set()
        assert first.result().status_code == 202
    assert not make.app.state.arrivals._bytes


def test_verifications_in_progress(tight, monkeypatch):
    monkeypatch.setattr(verify, "WAIT_S", 0.0)
    client, make = tight(verifications=1)
    go_on = threading.Event()

    def body():
        yield HEAD.replace(b'"video"', b'"file"').partition(b"yes\r\n")[2] + VIDEO
        assert go_on.wait(30)
        yield TAIL

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/v1/verify", content=body(), headers=headers)
        try:
            until(lambda: make.app.state.arrivals._bytes)
            busy = client.post("/v1/verify", files={"file": ("found.mp4", VIDEO)})
        finally:
            go_on.set()
        assert first.result().status_code == 202
    check_problem(busy, "rate_limited")
    assert busy.headers["retry-after"]
