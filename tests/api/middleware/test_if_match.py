"""If-Match: changes and deletions of what the client has seen, and of nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.requests import if_match
from api.responses import serializers
from storage.tables import api_keys
from tests.api.conftest import Maker, check_problem, serving

HOOK = {"url": "https://93.184.215.14/hook"}  # public, and no name to look up


def change(client, path, name, etag):
    return client.patch(path, json={"name": name}, headers={"If-Match": etag})


def test_a_change_of_what_the_client_has_read_is_made_and_of_another_version_refused(client, make):
    path = make.subject()["links"]["self"]
    first = client.get(path).headers["etag"]
    assert change(client, path, "Berta", f'"other", {first}').json()["name"] == "Berta"
    refused = change(client, path, "Cleo", first)
    check_problem(refused, "precondition_failed")
    assert client.get(path).json()["name"] == "Berta"
    second = client.get(path).headers["etag"]
    check_problem(change(client, path, "Cleo", f"W/{second}"), "precondition_failed")  # strong comparison
    assert change(client, path, "Cleo", second).json()["name"] == "Cleo"
    assert change(client, path, "Dora", "*").json()["name"] == "Dora"


@pytest.mark.parametrize("kind", ["subject", "video", "webhook"])
def test_what_has_changed_is_not_deleted(client, make, kind):
    if kind == "webhook":
        path = client.post("/v1/webhooks", json=HOOK).json()["links"]["self"]
    else:
        subject = make.ready_subject()
        path = (subject if kind == "subject" else make.video(subject))["links"]["self"]
    check_problem(client.delete(path, headers={"If-Match": '"stale"'}), "precondition_failed")
    etag = client.get(path).headers["etag"]
    assert client.delete(path, headers={"If-Match": etag}).status_code == 204
    check_problem(client.delete(path, headers={"If-Match": etag}), "not_found")


def test_the_condition_shows_nothing_of_other_owners(client, make, app):
    path = make.subject()["links"]["self"]
    with app.state.database.session() as session:
        _, token = api_keys.create(session, owner="mallory", name="k", scopes=["read", "write"])
    client.headers["Authorization"] = f"Bearer {token}"
    for etag in ('"guess"', "*"):
        check_problem(client.delete(path, headers={"If-Match": etag}), "not_found")


def test_every_path_answers_the_condition_at_once(client, make, app):
    """Also paths whose GET streams or never ends: nothing but the route of the change looks at the header."""
    known = make.subject()
    ids = {"subject_id": known["id"], "job_id": known["jobs"][0]["id"], "owner": "ann"}
    paths = {each.path for each in iter_route_contexts(app.routes)} | {"/", "/static/js/main.js", "/robots.txt"}
    for path in sorted(paths):
        for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
            path = path.replace(f"{{{name}}}", ids.get(name.partition(":")[0], "x"))
        for method in ("DELETE", "PATCH"):
            answer = client.request(method, path, headers={"If-Match": '"stale"'}, timeout=10)
            assert 400 <= answer.status_code < 500, (method, path, answer.status_code)
    assert client.get(known["links"]["self"]).status_code == 200


def test_every_route_that_changes_a_resource_takes_the_condition(app):
    routes = [(route, set(route.methods or ())) for route in iter_route_contexts(app.routes)]
    readable = {route.path for route, methods in routes if "GET" in methods}  # what has an ETag
    changing = [route for route, methods in routes if {"PATCH", "DELETE"} & methods and route.path in readable]
    assert len(changing) >= 8
    for route in changing:
        assert if_match._if_match in [each.call for each in route.dependant.dependencies], (route.methods, route.path)


def test_quotas_and_uploads(client):
    first = client.get("/v1/owners/ann").headers["etag"]
    for limit, answer in ((3, 200), (4, 412)):
        sent = client.patch("/v1/owners/ann", json={"subjects": limit}, headers={"If-Match": first})
        assert sent.status_code == answer
    assert client.get("/v1/owners/ann").json()["quotas"]["subjects"]["limit"] == 3
    tus = {"Tus-Resumable": "1.0.0"}
    upload = client.post("/v1/uploads", headers=tus | {"Upload-Length": "4"}).headers["location"]
    etag = client.get(upload).headers["etag"]
    part = tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    refused = client.patch(upload, content=b"ab", headers=part | {"If-Match": '"stale"'})
    check_problem(refused, "precondition_failed")
    assert client.patch(upload, content=b"ab", headers=part | {"If-Match": etag}).status_code == 204
    check_problem(client.delete(upload, headers=tus | {"If-Match": etag}), "precondition_failed")
    assert client.delete(upload, headers=tus | {"If-Match": client.get(upload).headers["etag"]}).status_code == 204


def test_a_fault_lets_no_change_pass(client, make, monkeypatch):
    path = make.subject()["links"]["self"]

    def away(*_):
        raise OperationalError("SELECT", {}, Exception("server closed the connection"))

    with monkeypatch.context() as patch:
        patch.setattr(serializers, "subject", away)
        check_problem(client.delete(path, headers={"If-Match": '"stale"'}), "unavailable")
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_several_changes_of_one_version_one_is_made(request, settings, kind):
    if kind == "postgresql":
        settings = settings.replace(database_url=request.getfixturevalue("postgresql_url"))
    app = create_app(settings)
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        path = Maker(client, app).subject()["links"]["self"]
        etag = client.get(path).headers["etag"]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: change(client, path, f"name {n}", etag).status_code, range(16)))
    assert sorted(answers) == [200] + [412] * 15
