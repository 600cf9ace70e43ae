"""JSON bodies: what is refused before a route's function runs, and how."""

from __future__ import annotations

import gzip
import http.client
from urllib.parse import urlsplit

import pytest

from api.requests import json_body, multipart
from tests.api.conftest import check_problem

JSON = {"Content-Type": "application/json"}
KEY = {"owner": "ann", "name": "a"}


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/merge-patch+json", "multipart/form-data"])
def test_another_content_type_is_refused_before_the_body_is_read(client, content_type):
    headers = {"Content-Type": content_type} if content_type else {}
    body = check_problem(client.post("/v1/keys", content=b"{}", headers=headers), "unsupported_media_type")
    assert body["remedy"] == "Send Content-Type: application/json."


def test_a_charset_may_follow_the_content_type(client):
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.patch("/v1/owners/ann", content=b"{}", headers=headers).status_code == 200


def test_a_compressed_body_is_refused(client):
    packed = gzip.compress(b"{}")
    refused = client.post("/v1/keys", content=packed, headers=JSON | {"Content-Encoding": "gzip"})
    body = check_problem(refused, "unsupported_media_type")
    assert body["remedy"] == "Send the body without Content-Encoding."
    form = {"files": {"video": ("a.mp4", b"x")}, "headers": {"Content-Encoding": "br"}}
    check_problem(client.post("/v1/subjects", **form), "unsupported_media_type")
    plain = client.patch("/v1/owners/ann", content=b"{}", headers=JSON | {"Content-Encoding": "identity"})
    assert plain.status_code == 200


@pytest.mark.parametrize("announced", [True, False])
def test_a_large_body_is_refused_whether_or_not_its_length_is_announced(client, announced):
    content = b" " * (json_body.JSON_BYTES + 1)
    answer = client.post("/v1/keys", content=content if announced else iter([content]), headers=JSON)
    check_problem(answer, "body_too_large")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (b"{", "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b"\xff", "Invalid JSON: expected value at line 1 column 1"),
        (b'"\\ud800"', "Invalid JSON: unexpected end of hex escape at line 1 column 8"),
        (b"[" * 900, "Invalid JSON: recursion limit exceeded at line 1 column 202"),
        (b"[]", "Input should be an object"),
        (b"null", "Input should be an object"),
    ],
)
def test_a_body_that_is_no_json_object_is_pointed_at_as_a_whole(client, content, message):
    body = check_problem(client.patch("/v1/owners/ann", content=content, headers=JSON), "validation_failed")
    assert body["errors"] == [{"detail": message, "pointer": ""}]
    assert body["detail"].startswith(f"The body: {message}.")


@pytest.mark.parametrize(
    ("path", "json", "pointer"),
    [
        ("/v1/owners/ann", {"subjects": "5"}, "/subjects"),
        ("/v1/owners/ann", {"subjects": True}, "/subjects"),
        ("/v1/owners/ann", {"subjects": 5.5}, "/subjects"),
        ("/v1/owners/ann", {"films": 5}, "/films"),
        ("/v1/keys", KEY | {"expires_at": 2_000_000_000}, "/expires_at"),
        ("/v1/keys", KEY | {"scopes": ["read", "all"]}, "/scopes/1"),
        ("/v1/keys", {"owner": "ann"}, "/name"),
        ("/v1/keys", KEY | {"scopes": "read"}, "/scopes"),
    ],
)
def test_types_are_those_of_json_schema_and_errors_point_into_the_body(client, path, json, pointer):
    answer = client.request("POST" if path == "/v1/keys" else "PATCH", path, json=json)
    (error,) = check_problem(answer, "validation_failed")["errors"]
    assert error["pointer"] == pointer
    assert "list" not in error["detail"]  # JSON has arrays


def test_a_number_without_a_fraction_is_an_integer_and_a_date_is_a_string(client):
    patched = client.patch("/v1/owners/ann", json={"subjects": 5.0})
    assert patched.json()["quotas"]["subjects"]["limit"] == 5
    assert client.post("/v1/keys", json=KEY | {"expires_at": "2099-01-01T00:00:00Z"}).status_code == 201


def test_a_body_that_stops_arriving_is_given_up(client, monkeypatch):
    monkeypatch.setattr(multipart, "STALL_S", 0.1)
    address = urlsplit(str(client.base_url))
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=30)
    connection.putrequest("PATCH", "/v1/owners/ann")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100")
    connection.endheaders(b"{")
    assert connection.getresponse().status == 408
    connection.close()


def test_of_many_errors_some_are_listed_and_the_others_counted(client):
    body = check_problem(client.post("/v1/keys", json=KEY | {f"x{n}": 0 for n in range(900)}), "validation_failed")
    assert len(body["errors"]) == 20
    assert " more errors are not listed." in body["detail"]


def test_huge_floats_do_not_become_integers():
    assert json_body.parse_json("[5.0, 1e308, 9007199254740992.0, -1e15]") == [5, 1e308, 2.0**53, -(10**15)]
    kinds = [type(each) for each in json_body.parse_json("[5.0, 1e308, 9007199254740992.0, -1e15]")]
    assert kinds == [int, float, float, int]


def test_json_in_a_field_of_a_form_has_the_same_limit(client, make):
    subject = make.ready_subject()
    fields = {"subject_id": subject["id"], "duration_s": "5", "options": "[" + "1e308," * 20_000 + "0]"}
    answer = client.post("/v1/videos", files={name: (None, text) for name, text in fields.items()})
    check_problem(answer, "body_too_large")
