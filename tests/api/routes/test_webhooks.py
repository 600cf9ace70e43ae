"""/v1/webhooks: made, changed, rotated, tried; and what became of what was told. Nothing is sent here: see tests/worker."""

from __future__ import annotations

import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import select
from standardwebhooks.webhooks import Webhook as Verifier

from api import deps
from api.monitoring import metrics
from storage.database import queries
from storage.database.models import Delivery, StoredResponse, Webhook
from storage.tables import webhooks
from storage.tables.webhooks import EVENTS, Attempt
from tests.api.conftest import check_problem
from tests.worker.webhooks.test_guarded_http import NAMES, NOT_ADDRESSES, NUMBERS
from worker.webhooks import guarded_http
from worker.webhooks.guarded_http import MAX_URL_LENGTH

URL = "https://93.184.215.14/hook"  # public, and no name to look up

WEBHOOK_FIELDS = {
    "id", "url", "events", "description", "enabled", "disabled_because", "failing_since", "previous_secret_until",
    "created_at", "updated_at", "links",
}  # fmt: skip
DELIVERY_FIELDS = {
    "id", "webhook_id", "event", "state", "attempts", "next_attempt_at", "last_attempt_at", "last_status", "last_error",
    "response", "payload", "created_at", "delivered_at", "links",
}  # fmt: skip


@pytest.fixture
def new(client):
    def new(**fields):
        answer = client.post("/v1/webhooks", json={"url": URL} | fields)
        assert answer.status_code == 201, answer.text
        return answer.json()

    return new


@pytest.fixture
def settle(app):
    """What a courier does with the next delivery, but for sending it."""

    def settle(**attempt):
        with app.state.database.session() as session:
            claimed = webhooks.claim(session, lease_s=60)
        with app.state.database.session() as session:
            return webhooks.record_attempt(session, claimed, Attempt(**attempt))

    return settle


def test_a_webhook_is_made_with_a_secret_that_is_shown_once(client):
    answer = client.post("/v1/webhooks", json={"url": URL, "events": ["video.ready"], "description": " mine "})
    made = answer.json()
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    assert answer.headers["location"] == made["links"]["self"]
    assert set(made) == WEBHOOK_FIELDS | {"secret"}
    assert (made["url"], made["events"], made["description"]) == (URL, ["video.ready"], "mine")
    assert (made["enabled"], made["disabled_because"]) == (True, None)
    assert Verifier(made["secret"])
    read = client.get(made["links"]["self"]).json()
    assert read == {name: value for name, value in made.items() if name != "secret"}
    assert client.get("/v1/webhooks").json() == {"items": [read], "next_cursor": None}


def test_a_webhook_subscribes_to_all_events_by_default(new):
    assert new()["events"] == list(EVENTS)
    assert new(events=["video.ready", "job.failed", "video.ready"])["events"] == ["job.failed", "video.ready"]


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.215.14/",
        "https://93.184.215.14:22/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://u@93.184.215.14/",
        "mailto:a@b.c",
        "",
    ],
)
def test_forbidden_urls_are_refused_at_once(client, new, url):
    check_problem(client.post("/v1/webhooks", json={"url": url}), "url_refused")
    path = new()["links"]["self"]
    check_problem(client.patch(path, json={"url": url}), "url_refused")
    assert client.get(path).json()["url"] == URL


ADDRESSED = {("POST", "/v1/webhooks"), ("PATCH", "/v1/webhooks/{webhook_id}")}
"""Operations that take an address which is called from here."""
SOUNDS_LIKE_ONE = re.compile("ur[il]|href|callback|webhook$|host|address|endpoint|redirect|source$", re.IGNORECASE)


def takers_of_addresses(document):
    """(method, path) of the operations of which a parameter, or a value anywhere in the body, is an address or may be one."""

    def values(schema, name=""):
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        yield name, schema
        for inner, each in schema.get("properties", {}).items():
            yield from values(each, inner)
        for each in [schema.get("items", {}), *schema.get("anyOf", ()), *schema.get("oneOf", ())]:
            if each:
                yield from values(each, name)

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).values()
            given = [pair for each in content for pair in values(each["schema"])]
            given += [(each["name"], each["schema"]) for each in operation.get("parameters", ())]
            if any(SOUNDS_LIKE_ONE.search(name) or "uri" in schema.get("format", "") for name, schema in given):
                yield method.upper(), path


def test_no_operation_accepts_a_url_into_the_private_network(client, new, app):
    """Those of the document: one that takes an address tomorrow is found, and must be tried here with the whole corpus."""
    assert set(takers_of_addresses(app.openapi())) == ADDRESSED
    mine = new()
    for url in [*NOT_ADDRESSES, *(f"https://{host}/" for host in (*NUMBERS, *NAMES))]:
        for method, path in ADDRESSED:
            answer = client.request(method, path.format(webhook_id=mine["id"]), json={"url": url})
            check_problem(answer, "url_refused" if len(url) <= MAX_URL_LENGTH else "validation_failed")
    (kept,) = client.get("/v1/webhooks").json()["items"]
    assert kept["url"] == URL


def test_a_new_operation_that_takes_a_url_is_detected(app):
    document = app.openapi()
    before = set(takers_of_addresses(document))
    fetch = document["paths"]["/v1/subjects"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fetch["properties"]["video_url"] = {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert set(takers_of_addresses(document)) - before == {("POST", "/v1/subjects")}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/url"),
        ({"url": None}, "/url"),
        ({"url": "https://93.184.215.14/" + "a" * 2000}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["job.started"]}, "/events/0"),
        ({"url": URL, "events": ["webhook.test"]}, "/events/0"),
        ({"url": URL, "description": "a\nb"}, "/description"),
        ({"url": URL, "secret": "whsec_mine"}, "/secret"),
        ({"url": URL, "enabled": False}, "/enabled"),
    ],
)
def test_errors_point_at_wrong_values(client, body, pointer):
    problem = check_problem(client.post("/v1/webhooks", json=body), "validation_failed")
    assert problem["errors"][0]["pointer"] == pointer


def test_fields_left_out_of_a_patch_stay(client, new):
    webhook = new(events=["job.failed"], description="a")
    path = webhook["links"]["self"]
    changed = client.patch(path, json={"description": "b"}).json()
    assert (changed["description"], changed["events"], changed["url"]) == ("b", ["job.failed"], URL)
    off = client.patch(path, json={"enabled": False}).json()
    assert (off["enabled"], off["disabled_because"]) == (False, "request")
    check_problem(client.post(webhook["links"]["test"]), "webhook_disabled")
    on = client.patch(path, json={"enabled": True, "events": ["video.ready"]}).json()
    assert (on["enabled"], on["disabled_because"], on["events"]) == (True, None, ["video.ready"])
    for wrong in ({"enabled": None}, {"url": None}, {"id": "whk_1"}):
        check_problem(client.patch(path, json=wrong), "validation_failed")


def test_rotating_returns_a_new_secret_and_when_the_old_one_ends(client, new):
    webhook = new()
    answer = client.post(webhook["links"]["rotate"])
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    rotated = answer.json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["previous_secret_until"] > rotated["updated_at"] > webhook["updated_at"]
    assert "secret" not in client.get(webhook["links"]["self"]).json()


def test_a_response_with_a_webhook_secret_is_not_replayed(client, app):
    sent = [client.post("/v1/webhooks", json={"url": URL}, headers={"Idempotency-Key": "one"}) for _ in range(2)]
    check_problem(sent[1], "answer_not_kept")
    assert len(client.get("/v1/webhooks").json()["items"]) == 1


def test_from_the_end_of_a_job_to_the_log(client, make, new, settle):
    webhook = new(events=["job.failed", "subject.failed"])
    subject = make.subject()
    job = make.fail("no_face_found")
    waiting = client.get(webhook["links"]["deliveries"]).json()["items"]
    assert {delivery["event"] for delivery in waiting} == {"job.failed", "subject.failed"}
    assert all(set(delivery) == DELIVERY_FIELDS and delivery["state"] == "pending" for delivery in waiting)
    data = {delivery["event"]: delivery["payload"]["data"] for delivery in waiting}
    assert (data["job.failed"]["id"], data["subject.failed"]["id"]) == (job, subject["id"])
    assert data["job.failed"]["error"]["code"] == "no_face_found"

    assert settle(status=500, response="oops") == "failed"
    (failed,) = (each for each in client.get(webhook["links"]["deliveries"]).json()["items"] if each["attempts"])
    assert (failed["state"], failed["last_status"], failed["response"]) == ("pending", 500, "oops")
    assert failed["next_attempt_at"] > failed["last_attempt_at"]
    assert client.get(webhook["links"]["self"]).json()["failing_since"] == failed["last_attempt_at"]

    again = client.post(failed["links"]["replay"])
    assert (again.status_code, again.json()["attempts"], again.json()["id"]) == (202, 0, failed["id"])
    for _ in waiting:
        assert settle(status=204, response="") == "delivered"
    listed = client.get(webhook["links"]["deliveries"], params={"state": "delivered"}).json()["items"]
    assert len(listed) == 2 and client.get(f"{webhook['links']['deliveries']}?state=pending").json()["items"] == []
    assert all(each["next_attempt_at"] is None and each["delivered_at"] for each in listed)
    assert client.get(listed[0]["links"]["self"]).json() == listed[0]
    assert client.get(webhook["links"]["self"]).json()["failing_since"] is None


def test_the_log_comes_in_pages(client, new):
    webhook = new()
    sent = [client.post(webhook["links"]["test"]).json()["id"] for _ in range(3)]
    first = client.get(webhook["links"]["deliveries"], params={"limit": 2}).json()
    second = client.get(webhook["links"]["deliveries"], params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert [each["id"] for each in first["items"] + second["items"]] == sorted(sent, reverse=True)
    assert second["next_cursor"] is None


def test_the_delivery_of_a_test_event_can_be_read(client, new, settle):
    answer = client.post(new()["links"]["test"])
    assert answer.status_code == 202
    path = answer.headers["location"]
    assert answer.json()["payload"]["type"] == "webhook.test"
    settle(error="No connection.")
    read = client.get(path).json()
    assert (read["event"], read["last_status"], read["last_error"]) == ("webhook.test", None, "No connection.")


def test_a_receiver_that_answers_410_disables_its_webhook(client, new, settle):
    webhook = new()
    delivery = client.post(webhook["links"]["test"]).json()
    settle(status=410, response="gone")
    read = client.get(webhook["links"]["self"]).json()
    assert (read["enabled"], read["disabled_because"]) == (False, "gone")
    check_problem(client.post(delivery["links"]["replay"]), "webhook_disabled")


def test_a_deleted_webhook_is_gone_with_its_log(client, app, new):
    webhook = new()
    delivery = client.post(webhook["links"]["test"]).json()
    assert client.delete(webhook["links"]["self"]).status_code == 204
    for method, path in requests_about(webhook, delivery):
        check_problem(client.request(method, path, json={} if method == "PATCH" else None), "not_found")
    with app.state.database.session(write=False) as session:
        assert queries.page(session, Delivery, limit=1).items == []


def test_a_deleted_webhook_leaves_no_stored_response_that_names_it(client, app, new):
    webhook = new()
    client.post(webhook["links"]["test"], headers={"Idempotency-Key": "a-test"})
    assert client.delete(webhook["links"]["self"]).status_code == 204
    with app.state.database.session(write=False) as session:
        assert [row.body for row in session.scalars(select(StoredResponse))] == [None]


def test_a_deletion_takes_along_what_would_be_sent_about_it(client, make, new, settle):
    webhook = new()
    subject, other = make.ready_subject(), make.ready_subject()
    video = make.video(other)
    make.fail("no_face_found")
    assert settle(status=204, response="") == "delivered"

    def named():
        items = client.get(webhook["links"]["deliveries"]).json()["items"]
        return {each for item in items for each in item["payload"]["data"].values() if isinstance(each, str)}

    assert {subject["id"], other["id"], video["id"]} <= named()
    client.delete(subject["links"]["self"])
    assert subject["id"] not in named() and {other["id"], video["id"]} <= named()
    client.delete(video["links"]["self"])
    assert video["id"] not in named() and other["id"] in named()
    assert settle(status=204, response="") == "delivered"


def requests_about(webhook, delivery):
    """Every request that names a webhook or a delivery."""
    path = webhook["links"]["self"]
    return [
        ("GET", path), ("PATCH", path), ("DELETE", path), ("POST", f"{path}/test"), ("POST", f"{path}/rotate"),
        ("GET", f"{path}/deliveries"), ("GET", delivery["links"]["self"]), ("POST", delivery["links"]["replay"]),
    ]  # fmt: skip


def test_webhooks_of_another_owner_are_not_found(client, app, new):
    webhook = new()
    delivery = client.post(webhook["links"]["test"]).json()
    mine = client.post(new()["links"]["test"]).json()
    with app.state.database.session() as session:
        for model, row in ((Webhook, webhook), (Delivery, delivery)):
            queries.get(session, model, row["id"]).owner = "somebody"
    for method, path in requests_about(webhook, delivery):
        check_problem(client.request(method, path, json={} if method == "PATCH" else None), "not_found")
    assert len(client.get("/v1/webhooks").json()["items"]) == 1
    astray = delivery["links"]["self"].replace(webhook["id"], mine["webhook_id"])
    check_problem(client.get(astray), "not_found")
    check_problem(client.get(mine["links"]["self"].replace(mine["webhook_id"], "whk_0")), "not_found")


def test_the_number_of_webhooks_is_limited(client, app, new):
    with app.state.database.session() as session:
        for _ in range(webhooks.MAX_WEBHOOKS):
            webhooks.create(session, owner="local", url=URL, events=["job.failed"], description="")
    check_problem(client.post("/v1/webhooks", json={"url": URL}), "too_many_webhooks")


def test_figures_of_deliveries(client, app, new, settle, monkeypatch):
    monkeypatch.setattr(metrics, "CACHE_S", 0.0)

    def figure(name):
        lines = client.get("/metrics").text.splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    assert figure('adnerf_webhook_attempts_total{outcome="delivered"}') == 0
    assert figure("adnerf_webhook_oldest_due_seconds") == 0
    client.post(new()["links"]["test"])
    assert figure("adnerf_webhook_oldest_due_seconds") > 0
    settle(status=200, response="")
    assert figure("adnerf_webhook_oldest_due_seconds") == 0
    assert figure('adnerf_webhook_attempts_total{outcome="delivered"}') == 1


def test_name_servers_that_do_not_answer_delay_no_other_tenant(make, client, monkeypatch):
    """Many requests of one client wait for name servers; writers have few turns, and none of them waits for those."""
    subject = make.subject()
    released = threading.Event()
    asked = threading.Semaphore(0)

    answered = socket.getaddrinfo

    def slow(host, *arguments, **named):
        if not str(host).endswith(".example"):
            return answered(host, *arguments, **named)
        asked.release()
        released.wait(60)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(guarded_http, "RESOLVE_S", 60.0)
    hook = client.post("/v1/webhooks", json={"url": URL.replace("hook", "a")})
    with ThreadPoolExecutor(60) as pool:
        waiting = []
        for number in range(50):
            body = {"url": f"https://{number}.example/hook"}
            waiting.append(pool.submit(httpx.post, f"{client.base_url}/v1/webhooks", json=body, timeout=120))
        waiting.append(
            pool.submit(httpx.patch, f"{client.base_url}{hook.json()['links']['self']}", json=body, timeout=120)
        )
        for _ in range(deps.LOOK_UPS // deps.PART):
            assert asked.acquire(timeout=60)
        time.sleep(0.5)  # the others arrive
        try:
            seconds = []
            for name in ("one", "two", "three"):
                start = time.monotonic()
                assert client.patch(subject["links"]["self"], json={"name": name}).status_code == 200
                seconds.append(time.monotonic() - start)
            assert not any(each.done() for each in waiting)
        finally:
            released.set()
        assert {each.result().status_code for each in waiting} == {422}
    assert min(seconds) < 2.0, seconds
