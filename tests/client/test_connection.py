"""Requests to busy services over unreliable connections: which are repeated, and which errors are raised."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import httpx
import pytest

from adnerf_client import AdnerfError, Client, NotFound, Problem, Unreachable
from adnerf_client.errors import BadAnswer, BadUse, Invalid, NotAllowed, NotServed, TooMany, Unavailable
from adnerf_client.models import Job
from tests.client.conftest import CONSENT

JOB = {"id": "job_1", "kind": "train", "state": "queued", "subject_id": "sub_1", "created_at": "2026-01-01T00:00:00Z"}


def client_with(*answers, **arguments):
    """A client whose service gives these responses, (status, headers, JSON) or an exception; and the list of its requests."""
    remaining, requests = list(answers), []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        response = remaining.pop(0)
        if isinstance(response, Exception):
            raise response
        status, headers, body = response
        return httpx.Response(status, headers=headers, json=body)

    return Client("http://service", transport=httpx.MockTransport(answer), **arguments), requests


@pytest.fixture
def pauses(monkeypatch):
    """The seconds for which the client would have slept."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def test_a_request_is_repeated_after_the_seconds_of_retry_after(pauses):
    busy = (503, {"Retry-After": "3"}, {"code": "unavailable", "detail": "Not now. Later."})
    client, requests = client_with(busy, (429, {"Retry-After": "2"}, {}), (200, {}, JOB))
    assert client.jobs.get("job_1").kind == "train"
    assert pauses == [3.0, 2.0] and len(requests) == 3


def test_without_retry_after_the_pauses_double(pauses):
    client, requests = client_with((503, {}, {}), (502, {}, {}), (504, {}, {}), (200, {}, JOB))
    client.jobs.get("job_1")
    assert [0.125 <= pauses[0] <= 0.25, 0.25 <= pauses[1] <= 0.5, 0.5 <= pauses[2] <= 1.0] == [True] * 3 and len(
        requests
    ) == 4


def test_a_retry_after_longer_than_the_patience_raises_at_once(pauses):
    client, requests = client_with(
        (429, {"Retry-After": "3600"}, {"code": "quota_exceeded", "detail": "Enough for today."})
    )
    with pytest.raises(TooMany, match="Enough for today") as caught:
        client.jobs.get("job_1")
    assert (pauses, len(requests), caught.value.code, caught.value.retry_after_s) == ([], 1, "quota_exceeded", 3600.0)


def test_a_request_whose_first_copy_is_in_flight_is_repeated(pauses):
    flying = (409, {"Retry-After": "1"}, {"code": "idempotency_in_flight", "detail": "Wait."})
    client, requests = client_with(flying, (200, {}, JOB))
    assert client.jobs.retry("job_1").id == "job_1"
    assert len({request.headers["Idempotency-Key"] for request in requests}) == 1 and len(requests) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, NotAllowed),
        (403, NotAllowed),
        (404, NotFound),
        (413, Invalid),
        (422, Invalid),
        (500, Unavailable),
    ],
)
def test_a_permanent_error_raises_at_once(pauses, status, kind):
    entry = {"pointer": "/size", "detail": "too much"}
    client, requests = client_with(
        (status, {"X-Request-Id": "r1"}, {"code": "a_code", "detail": "Wrong. Mend it.", "errors": [entry]})
    )
    with pytest.raises(kind, match=r"Wrong\. Mend it\.") as caught:
        client.jobs.get("job_1")
    error = caught.value
    assert (error.code, error.status, error.request_id, error.errors) == ("a_code", status, "r1", [entry])
    assert len(requests) == 1 and pauses == [] and isinstance(error, Problem)


@pytest.mark.parametrize("body", ["<html>Bad Gateway</html>", "[1]", ""])
def test_an_error_of_a_proxy_is_a_problem_with_the_code_of_its_status(pauses, body):
    transport = httpx.MockTransport(lambda request: httpx.Response(418, text=body))
    with Client("http://service", transport=transport) as client, pytest.raises(Invalid, match="418") as caught:
        client.jobs.get("job_1")
    assert caught.value.code == "http_418"


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "{}"])
def test_the_response_of_another_program_is_a_bad_answer(body):
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=body))
    with Client("http://service", transport=transport) as client, pytest.raises(BadAnswer, match="Check the address"):
        client.jobs.get("job_1")


def test_a_redirect_is_an_error_that_names_the_new_address():
    moved = (301, {"Location": "https://service/v1/jobs/job_1"}, {})
    client, _ = client_with(moved, moved)
    for do in (client.jobs.get, client.subjects.delete):
        with pytest.raises(BadAnswer, match="has moved to https://service"):
            do("job_1")


def test_an_id_is_quoted_in_the_path():
    client, requests = client_with((404, {}, {}))
    with pytest.raises(NotFound):
        client.jobs.get("../subjects?limit=1")
    assert requests[0].url.raw_path == b"/v1/jobs/..%2Fsubjects%3Flimit%3D1"


def test_an_address_that_never_answers_is_given_up_soon(monkeypatch):
    monkeypatch.setattr("adnerf_client.connection.STRANGER_S", 0.3)
    begun = time.monotonic()
    with Client("http://127.0.0.1:9", patience_s=600) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.jobs.get("job_1")
    assert time.monotonic() - begun < 300  # far less than the 600 s of patience for an address that has answered


def test_the_patience_counts_from_the_first_error(monkeypatch, pauses):
    """An upload of an hour must not use up the patience."""
    clock = iter(range(0, 100_000, 1000))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    client, requests = client_with(httpx.ReadError("broke off"), (200, {}, JOB), patience_s=1500)
    assert client.jobs.get("job_1").id == "job_1" and len(requests) == 2


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://service", "http://", "http://service:port", "nonsense"])
def test_a_malformed_address_is_refused(url):
    with pytest.raises(BadUse, match=r"http://127\.0\.0\.1:8000"):
        Client(url)


@pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
def test_a_malformed_key_is_refused(key):
    with pytest.raises(BadUse, match="API key") as caught:
        Client("http://service", key)
    assert key not in str(caught.value)


def test_address_and_key_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("ADNERF_URL", "http://elsewhere:1")
    monkeypatch.setenv("ADNERF_API_KEY", "key_of_ann")
    requests = []
    transport = httpx.MockTransport(lambda request: requests.append(request) or httpx.Response(200, json=JOB))
    Client(transport=transport).jobs.get("job_1")
    Client("http://here", "another", transport=transport).jobs.get("job_1")
    assert [str(request.url) for request in requests] == [
        "http://elsewhere:1/v1/jobs/job_1",
        "http://here/v1/jobs/job_1",
    ]
    assert [request.headers["Authorization"] for request in requests] == ["Bearer key_of_ann", "Bearer another"]


def test_a_lost_response_makes_no_second_subject(service, wire):
    client = service.client(transport=wire)
    wire.loses = ["POST", "POST"]
    subject = client.subjects.create(service.file(), consent=CONSENT)
    assert len([request for request in wire.sent if request.method == "POST"]) == 3
    assert [each.id for each in client.subjects.list()] == [subject.id]


def test_a_lost_response_to_a_delete_is_no_error(service, wire):
    client = service.client(transport=wire)
    subject = client.subjects.create(service.file(), consent=CONSENT)
    wire.loses = ["DELETE"]
    client.subjects.delete(subject)
    assert list(client.subjects.list()) == []
    with pytest.raises(NotFound):
        client.subjects.delete(subject)


def test_a_request_survives_a_restart_of_the_service(service, client):
    subject = client.subjects.create(service.file(), consent=CONSENT)
    service.stop()
    service.start()
    assert client.subjects.get(subject.id) == subject
    service.stop()
    client.subjects._connection.patience_s = 0.3
    with pytest.raises(Unreachable, match="whether the service runs"):
        client.subjects.get(subject.id)


def test_errors_point_at_the_wrong_values(service, client):
    with pytest.raises(Invalid) as caught:
        client.subjects.create(service.file(), consent=" ", preset="best")
    assert caught.value.code == "validation_failed"
    assert {entry["pointer"] for entry in caught.value.errors} == {"/consent", "/preset"}


def test_missing_files_and_files_that_are_not_media_are_refused(service, client):
    with pytest.raises(BadUse, match=r"nobody\.mp4"):
        client.subjects.create(service.folder / "nobody.mp4", consent=CONSENT)
    with pytest.raises(BadUse, match="cannot be read"):
        client.subjects.create(service.folder, consent=CONSENT)
    text = service.folder / "text.mp4"
    text.write_text("not a film")
    with pytest.raises(Invalid) as caught:
        client.subjects.create(text, consent=CONSENT)
    assert caught.value.code == "not_media"
    assert caught.value.remedy.startswith("Send an MP4") and str(caught.value).count(caught.value.remedy) == 1
    with pytest.raises(TypeError, match="upload_id"):
        client.subjects.create(consent=CONSENT)
    with pytest.raises(BadUse, match="sub_, vid_ or job_"):
        client.get("upl_1")


def test_every_error_has_a_code_and_a_remedy():
    def below(kind):
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    kinds = [kind for kind in below(AdnerfError) if not issubclass(kind, Problem)]
    assert NotServed in kinds and all(kind.code.isidentifier() and kind.remedy.endswith(".") for kind in kinds)


def test_too_many_uploads_raise_at_once(pauses):
    client, requests = client_with((429, {}, {"code": "too_many_uploads", "detail": "There are 20 unused uploads."}))
    with pytest.raises(TooMany):
        client.subjects.get("sub_1")
    assert len(requests) == 1 and pauses == []


def every_error():
    """One error of each class, with all that it can hold."""
    job = Job.model_validate(JOB)
    for kind in sorted(set(subclasses(AdnerfError)), key=lambda kind: kind.__name__):
        if issubclass(kind, Problem):
            more = {"code": "c", "status": 400, "errors": [{"detail": "d"}], "retry_after_s": 2.0, "request_id": "r"}
            yield kind("wrong", "right", **more)
        elif hasattr(kind, "job") or kind.__name__ in ("JobFailed", "JobCancelled", "StillRunning", "_OfJob"):
            yield kind("wrong", "right", job=job)
        elif kind is Unreachable:
            yield kind("wrong", stranger=True)
        else:
            yield kind("wrong", "right")


def subclasses(kind):
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_every_error_can_be_pickled(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, again.code, vars(again)) == (str(error), error.args, error.code, vars(error))


def test_a_file_name_that_is_not_utf_8_is_sent(tmp_path):
    video = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    video.write_bytes(b"x")
    client, requests = client_with((422, {}, {"code": "not_media", "detail": "It is no video."}))
    with pytest.raises(Invalid):
        client.subjects.create(video, consent=CONSENT)
    assert requests[0].content.count(b"caf?") == 2  # the name of the subject and of the file
