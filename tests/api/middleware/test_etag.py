"""Conditional requests for JSON: every resource that is polled has a tag."""

from __future__ import annotations

from tests.api.conftest import check_problem


def test_every_resource_and_list_has_a_tag_until_it_changes(client, make):
    subject = make.ready_subject()
    video = make.video(subject)
    paths = [each["links"]["self"] for each in (subject, video, video["job"])]
    for path in (*paths, "/v1/subjects", "/v1/videos", "/v1/jobs", "/openapi.json"):
        first = client.get(path)
        known = {"If-None-Match": first.headers["etag"]}
        same = client.get(path, headers=known)
        assert (same.status_code, same.content) == (304, b""), path
        assert same.headers["etag"] == first.headers["etag"]
        assert same.headers["cache-control"] == first.headers["cache-control"] == "private, no-cache"
        assert same.headers.get("retry-after") == first.headers.get("retry-after")
        assert "content-type" not in same.headers
    waited_for = [client.get(path) for path in paths[1:]]
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in waited_for)
    make.claim()
    for answer in waited_for:
        changed = client.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
        assert changed.status_code == 200
        assert changed.headers["etag"] != answer.headers["etag"]


def test_tags_are_compared_as_the_standard_says(client, make):
    path = make.subject()["links"]["self"]
    etag = client.get(path).headers["etag"]
    for header in (f'"other", {etag}', f"W/{etag}", "*"):
        assert client.get(path, headers={"If-None-Match": header}).status_code == 304
    for header in ('"other"', etag.strip('"'), ""):
        assert client.get(path, headers={"If-None-Match": header}).status_code == 200


def test_what_is_no_resource_has_no_tag(client):
    assert "etag" not in client.get("/healthz").headers
    missing = client.get("/v1/jobs/job_0", headers={"If-None-Match": "*"})
    check_problem(missing, "not_found")
    assert "etag" not in missing.headers


def test_every_get_of_json_says_so(client):
    for path, operations in client.get("/openapi.json").json()["paths"].items():
        answers = operations.get("get", {"responses": {}})["responses"]
        if path.startswith("/v1/") and "application/json" in answers.get("200", {}).get("content", {}):
            assert "304" in answers and "ETag" in answers["200"]["headers"], path
