"""What is seen of each request: its id, and the log."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest

from api.responses import serializers
from storage.tables import api_keys
from tests.api.conftest import check_problem
from worker import logs


@pytest.fixture
def lines():
    """Everything logged during the test, as the JSON that machines get."""
    written, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers[:], root.level
    logs.configure("json", written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = before
    root.setLevel(level)


def of_requests(lines):
    return [line for line in lines() if line["logger"] == "api.middleware.request_log"]


def test_a_request_has_an_id_in_the_answer_and_in_the_log(client, lines):
    ids = {client.get("/v1/subjects").headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert {line["request_id"] for line in of_requests(lines)} == ids


def test_the_id_of_the_caller_is_kept_where_it_is_harmless(client, lines):
    for wanted, kept in (("trace-1.2_3", True), ("a" * 65, False), ("a\tb", False), ('{"x": 1}', False)):
        answer = client.get("/v1/jobs/job_0", headers={"X-Request-Id": wanted})
        assert (answer.headers["x-request-id"] == wanted) is kept
    assert of_requests(lines)[0]["request_id"] == "trace-1.2_3"


def test_the_log_names_route_and_ids_and_nothing_else(client, make, lines):
    subject = make.subject(name="Secret Name", consent="Secret Name agreed")
    client.get(f"/v1/subjects/{subject['id']}", params={"token": "secret"})
    client.get("/v1/secret/path")
    client.get("/v1/jobs/secret path")
    client.get("/healthz")
    told = of_requests(lines)
    assert [line["message"] for line in told] == [
        "POST /v1/subjects 202",
        "GET /v1/subjects/{subject_id} 200",
        "GET unmatched 404",
        "GET /v1/jobs/{job_id} 404",
    ]
    assert told[1]["subject_id"] == subject["id"] and told[1]["status"] == 200 and told[1]["seconds"] >= 0
    assert "ecret" not in json.dumps(lines())


def test_no_id_in_a_path_has_a_name_that_the_log_needs_itself(app):
    parameters = {name for path in app.openapi()["paths"] for name in re.findall(r"{(\w+)}", path)}
    logging.getLogger().makeRecord("x", 0, "", 0, "", (), None, extra=dict.fromkeys(parameters))


def test_a_mistake_of_ours_is_logged_with_the_id_that_the_client_sees(client, monkeypatch, lines):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(serializers, "subjects", broken)
    answer = client.get("/v1/subjects", headers={"X-Request-Id": "seen"})
    check_problem(answer, "internal_error")
    assert answer.headers["x-request-id"] == "seen"
    (bug,) = [line for line in lines() if "exception" in line]
    assert bug["request_id"] == "seen" and "a bug" in bug["exception"]
    assert of_requests(lines)[-1]["status"] == 500


def test_what_a_request_submits_is_logged_with_its_id(client, make, lines):
    subject = make.subject()
    (submitted,) = [line for line in lines() if line["logger"] == "storage.tables.jobs"]
    assert submitted["job_id"] == subject["jobs"][0]["id"]
    assert submitted["request_id"] == of_requests(lines)[0]["request_id"]


def test_the_log_says_which_key_was_shown_and_not_what_it_was(client, app, caplog):
    with app.state.database.session() as session:
        key, token = api_keys.create(session, owner="ann", name="k", scopes=["read"])
    caplog.set_level("INFO", logger="api.middleware.request_log")
    client.get("/v1/subjects", headers={"Authorization": f"Bearer {token}"})
    client.get("/v1/subjects")
    shown, missing = (record for record in caplog.records if record.name == "api.middleware.request_log")
    assert (shown.key_id, shown.status) == (key.id, 200)
    assert missing.status == 401 and not hasattr(missing, "key_id")
