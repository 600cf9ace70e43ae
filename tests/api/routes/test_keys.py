"""Keys over HTTP: an administrator makes them, a client shows them, and nobody sees a secret twice."""

from __future__ import annotations

import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api import auth
from storage.database.models import Key, now
from storage.errors import StoreFull
from storage.tables import api_keys
from tests.api.conftest import check_problem

FORM = {"owner": "ann", "name": "laptop", "scopes": ["read", "write"]}


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def admin(client, app):
    """The headers of an administrator; from now on everybody needs a key."""
    return bearer(a_key(app, "operator", "read", "write", "admin"))


def a_key(app, owner, *scopes, **values):
    with app.state.database.session() as session:
        return api_keys.create(session, owner=owner, name=owner, scopes=scopes, **values)[1]


def made(client, admin, **fields):
    answer = client.post("/v1/keys", json=FORM | fields, headers=admin)
    assert answer.status_code == 201, answer.text
    return answer


def test_a_new_key_works(client, admin):
    answer = made(client, admin)
    key = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert api_keys.TOKEN.fullmatch(key["token"]) and key["scopes"] == ["read", "write"]
    assert client.get("/v1/subjects", headers=bearer(key["token"])).json()["items"] == []
    shown = client.get(answer.headers["location"], headers=admin).json()
    assert "token" not in shown
    assert shown.pop("last_used_at") is not None
    assert shown.items() <= key.items()


def test_keys_are_listed_by_owner_and_page_by_page(client, admin):
    ids = [made(client, admin, owner=owner).json()["id"] for owner in ("ann", "bob", "ann")]
    page = client.get("/v1/keys?limit=2", headers=admin).json()
    assert [key["id"] for key in page["items"]] == ids[:0:-1]
    assert len(client.get("/v1/keys", params={"cursor": page["next_cursor"]}, headers=admin).json()["items"]) == 2
    of_ann = client.get("/v1/keys?owner=ann", headers=admin).json()["items"]
    assert [key["id"] for key in of_ann] == [ids[2], ids[0]]


def test_rotating_and_revoking(client, admin):
    key = made(client, admin).json()
    path = f"/v1/keys/{key['id']}"
    answer = client.post(f"{path}/rotate", json={"grace_s": 60}, headers=admin)
    assert answer.headers["cache-control"] == "no-store"
    again = answer.json()["token"]
    assert again != key["token"]
    for token in (key["token"], again):
        assert client.get("/v1/jobs", headers=bearer(token)).status_code == 200
    assert client.post(f"{path}/revoke", headers=admin).json()["revoked_at"]
    for token in (key["token"], again):
        check_problem(client.get("/v1/jobs", headers=bearer(token)), "unauthorized")
    check_problem(client.post(f"{path}/revoke", headers=admin), "key_revoked")
    check_problem(client.post(f"{path}/rotate", json={}, headers=admin), "key_revoked")
    check_problem(client.post("/v1/keys/key_0/revoke", headers=admin), "not_found")


def test_invalid_keys_are_refused(client, admin):
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    for wrong in (
        {"owner": "an n"},
        {"owner": "../ann"},
        {"owner": "a" * 65},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"expires_at": yesterday},
        {"expires_at": "2040-01-01T00:00:00"},
        {"name": " "},
        {"token": "adnerf_mine"},
    ):
        body = check_problem(client.post("/v1/keys", json=FORM | wrong, headers=admin), "validation_failed")
        assert body["errors"][0]["pointer"].startswith("/" + next(iter(wrong)))


def test_a_secret_is_not_replayed(client, admin):
    headers = admin | {"Idempotency-Key": "once"}
    assert client.post("/v1/keys", json=FORM, headers=headers).status_code == 201
    check_problem(client.post("/v1/keys", json=FORM, headers=headers), "answer_not_kept")


def test_without_a_key_every_request_is_refused(client, app, admin):
    expired = a_key(app, "ann", "read", expires_at=now() - timedelta(seconds=1))
    for headers in (
        {},
        bearer(expired),
        bearer("adnerf_x"),
        {"Authorization": "Basic YTpi"},
        {b"Authorization": b"Bearer \xff"},
    ):
        for path in ("/v1/subjects", "/v1/nothing", "/v1", "/metrics"):
            answer = client.get(path, headers=headers)
            check_problem(answer, "unauthorized")
            assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/healthz", "/readyz", "/openapi.json", "/docs", "/errors"):
        assert client.get(path).status_code == 200, path


def test_a_request_without_a_key_is_refused_before_its_body_is_read(client, admin):
    head = "POST /v1/subjects HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode())  # and nothing of the million
        assert connection.recv(12) == b"HTTP/1.1 401"


@pytest.mark.parametrize("scope", api_keys.SCOPES)
def test_each_scope_allows_its_own_requests(client, app, scope):
    headers = bearer(a_key(app, "ann", scope))
    doors = {
        "read": client.get("/v1/subjects", headers=headers),
        "write": client.delete("/v1/subjects/sub_0", headers=headers),
        "metrics": client.get("/metrics", headers=headers),
    }
    for name, answer in doors.items():
        if name == scope:
            assert answer.status_code in (200, 404), name
        else:
            assert name in check_problem(answer, "forbidden")["detail"]
    check_problem(client.get("/v1/keys", headers=headers), "forbidden")
    both = bearer(a_key(app, "ann", scope, "read"))
    assert (client.get("/v1/keys", headers=both).status_code == 200) == (scope == "admin")


def test_the_first_key_may_be_created_over_http_and_ends_open_access(client):
    token = client.post("/v1/keys", json=FORM | {"scopes": ["read"]}).json()["token"]
    check_problem(client.get("/v1/subjects"), "unauthorized")
    assert client.get("/v1/subjects", headers=bearer(token)).status_code == 200
    check_problem(client.post("/v1/keys", json=FORM, headers=bearer(token)), "forbidden")


def test_secrets_are_not_logged(client, app, admin, caplog):
    caplog.set_level(logging.DEBUG)
    token = a_key(app, "ann", "read")
    secret = api_keys.TOKEN.fullmatch(token)[2]
    client.get("/v1/subjects", headers=bearer(token))
    client.get(f"/v1/subjects?token={token}", headers=bearer(secret))
    client.get(f"/v1/subjects/{token}", headers=bearer(token))
    app.state.database.close()
    with app.state.database.engine.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE subjects RENAME TO gone")
        connection.commit()
    assert client.get("/v1/subjects", headers=bearer(token)).status_code in (500, 503)
    ours = [record for record in caplog.records if not record.name.startswith("http")]  # those are the client's
    said = repr([(record.getMessage(), record.__dict__) for record in ours])
    assert "GET /v1/subjects 200" in said and "no such table" in said
    assert secret not in said and "'ann'" not in said


@pytest.mark.parametrize("from_local", [False, True])
def test_a_body_whose_key_was_revoked_while_it_arrived_is_not_carried_out(client, app, monkeypatch, from_local):
    monkeypatch.setattr(auth, "CHECK_S", 0.0)
    local = {} if from_local else bearer(a_key(app, "ann", "read", "write"))

    def body():
        yield b'{"url": "https://example.com/", '
        with app.state.database.session() as session:
            for key in session.query(Key):
                api_keys.revoke(session, key.id)
        a_key(app, "operator", "admin")  # the first one ends the time without keys
        yield b'"description": "mine"}'

    answer = client.post("/v1/webhooks", content=body(), headers=local | {"Content-Type": "application/json"})
    check_problem(answer, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("end", ["key revoked", "link closed", "consent withdrawn"])
def test_a_download_ends_when_it_is_not_allowed_any_more(client, app, make, monkeypatch, end):
    """Although the client takes nothing of it meanwhile."""
    monkeypatch.setattr(auth, "CHECK_S", 0.05)
    video = make.ready_video(make.ready_subject(), bytes(24 << 20))
    path, url, headers = f"/v1/videos/{video['id']}", video["links"]["file"], {}
    share = client.post(f"{path}/shares", json={}).json()
    if end == "key revoked":
        headers = bearer(a_key(app, "local", "read"))
    elif end == "link closed":
        url = f"{share['url']}/video"
    with client.stream("GET", url, headers=headers) as answer:
        pieces = answer.iter_bytes()
        next(pieces)
        if end == "key revoked":
            with app.state.database.session() as session:
                api_keys.revoke(session, session.query(Key).one().id)
        elif end == "link closed":
            assert client.delete(f"{path}/shares/{share['id']}").status_code == 204
        else:
            client.post(f"/v1/subjects/{video['subject_id']}/withdraw-consent", json={})
        time.sleep(0.3)
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)


def test_a_use_that_cannot_be_recorded_does_not_fail_the_request(client, app, admin, monkeypatch):
    def refuse(*_):
        raise StoreFull("No space left.")

    monkeypatch.setattr(api_keys, "touch", refuse)
    token = a_key(app, "ann", "read")
    assert client.get("/v1/subjects", headers=bearer(token)).status_code == 200
    with app.state.database.session(write=False) as session:
        assert session.query(Key).filter(Key.owner == "ann").one().last_used_at is None


def test_at_most_one_request_waits_to_record_the_use_of_a_key(client, app, admin):
    token = a_key(app, "ann", "read")
    with ThreadPoolExecutor(20) as pool:
        with app.state.database.session() as session:
            session.query(Key).first()  # from here on nobody else writes
            asked = [pool.submit(client.get, "/v1/subjects", headers=bearer(token)) for _ in range(20)]
            wait(asked, timeout=5)
            assert sum(not answer.done() for answer in asked) <= 1
        assert {answer.result().status_code for answer in asked} == {200}


@pytest.mark.parametrize(
    "expiry",
    ["9999-12-31T23:59:59-01:00", "9000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "1969-12-31T23:59:59Z"],
)
def test_an_expiry_at_an_end_of_the_calendar_is_refused(client, admin, expiry):
    body = check_problem(
        client.post("/v1/keys", json=FORM | {"expires_at": expiry}, headers=admin), "validation_failed"
    )
    assert body["errors"][0]["pointer"] == "/expires_at" and "1970" in body["detail"]
    rotate = f"/v1/keys/{made(client, admin).json()['id']}/rotate"
    check_problem(client.post(rotate, json={"expires_at": expiry}, headers=admin), "validation_failed")


def test_the_last_expiry_is_kept_as_it_was_sent(client, admin):
    key = made(client, admin, expires_at="8999-12-31T23:59:59-12:00").json()
    assert datetime.fromisoformat(key["expires_at"]) == datetime(9000, 1, 1, 11, 59, 59, tzinfo=UTC)
