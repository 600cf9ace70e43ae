"""HEAD, other methods, and paths: what HTTP says about them, on every route."""

from __future__ import annotations

import pytest

from tests.api.conftest import check_problem


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/docs", "/errors", "/openapi.json", "/metrics", "/static/css/base.css", "/v1/me"]
    + ["/v1/subjects", "/v1/videos", "/v1/jobs", "/v1/uploads", "/v1/webhooks", "/v1/subjects/{id}", "/v1/jobs/{job}"],
)  # fmt: skip
def test_head_is_answered_like_get_without_a_body(client, make, path):
    subject = make.subject()
    path = path.format(id=subject["id"], job=subject["jobs"][0]["id"])
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"") and get.status_code == 200
    same = {"content-type", "etag", "cache-control", "content-security-policy", "retry-after"}
    assert {name: head.headers.get(name) for name in same} == {name: get.headers.get(name) for name in same}
    if path not in ("/metrics", "/readyz"):
        assert head.headers["content-length"] == get.headers["content-length"]


def test_head_of_a_resource_that_does_not_exist(client):
    assert client.head("/v1/subjects/sub_0").status_code == 404
    assert client.head("/v1/jobs/job_0/events").status_code == 404
    assert client.head("/v1/nothing").status_code == 404


def test_head_of_an_event_stream_ends(client, make):
    job = make.subject()["jobs"][0]
    head = client.head(f"/v1/jobs/{job['id']}/events")
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_a_route_of_its_own_answers_head(client):
    tus = {"Tus-Resumable": "1.0.0"}
    upload = client.post("/v1/uploads", headers={**tus, "Upload-Length": "5"}).headers["location"]
    assert client.head(upload, headers=tus).headers["upload-offset"] == "0"
    assert "upload-offset" not in client.get(upload, headers=tus).headers


def test_head_answers_not_modified(client):
    etag = client.get("/v1/subjects").headers["etag"]
    assert client.head("/v1/subjects", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/static/css/base.css", "GET, HEAD"),
        ("PUT", "/healthz", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("PUT", "/v1/subjects", "GET, HEAD, POST"),
        ("HEAD", "/v1/verify", "POST"),
        ("PUT", "/v1/uploads", "GET, HEAD, POST, OPTIONS"),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(client, method, path, allow):
    answer = client.request(method, path, headers={"Tus-Resumable": "1.0.0"})
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)


def test_a_path_with_a_slash_too_many_leads_nowhere(client):
    for path in ("/v1/subjects/", "/healthz/", "/docs/"):
        check_problem(client.get(path), "not_found")
