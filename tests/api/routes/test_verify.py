"""Consent and verifying over HTTP. The files are looked into by a worker in this process; what it finds there is made up."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from api.routes import verify as routes
from storage.database.models import LOCAL, Video
from storage.tables import verifications
from tests.api.conftest import AUDIO, VIDEO, check_problem
from worker.provenance import verifier
from worker.provenance.verifier import Verifier

CREDENTIALS = {
    "present": True,
    "valid": True,
    "ours": True,
    "issuer": "studio",
    "signed_at": "2026-05-02T09:30:00Z",
    "generator": "adnerf 0.1.0",
    "source_type": "compositeWithTrainedAlgorithmicMedia",
    "video_id": "vid_x",
    "created_at": "2026-05-02T09:30:00Z",
    "footage_sha256": "ab" * 32,
    "problems": [],
}
NONE = {**dict.fromkeys(CREDENTIALS), "present": False, "valid": False, "ours": False, "problems": []}
FOUND = {"number": 5, "score": 21.5, "false_alarm": 1e-30}


@pytest.fixture
def looking(app, monkeypatch):
    """A worker's thread that verifies; what it finds is what the test puts in here."""
    found = {}
    monkeypatch.setattr(verifier, "inspect", lambda file, order, stopping: found | {})
    monkeypatch.setattr(routes, "POLL_S", 0.02)
    looker = Verifier(app.state.settings, app.state.database, app.state.store)
    stop = threading.Event()

    def look():
        while not stop.wait(0.02):
            looker.verify_pending()

    thread = threading.Thread(target=look)
    thread.start()
    yield found
    stop.set()
    thread.join()


def send(client, **more):
    return client.post("/v1/verify", files={"file": ("found.mp4", VIDEO)}, **more)


def marked(app, video, number=5, owner=LOCAL):
    """Gives a video this number, and perhaps another owner."""
    with app.state.database.session() as session:
        row = session.get(Video, video["id"])
        row.mark, row.owner = number, owner


def test_a_video_that_was_made_here(client, make, app, looking):
    video = make.video(make.ready_subject())
    marked(app, video)
    looking |= {"credentials": CREDENTIALS | {"video_id": video["id"]}, "mark": FOUND | {}}
    answer = send(client)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["state"], body["made_here"], body["error"]) == ("succeeded", True, None)
    assert body["made_at"] == video["created_at"]
    assert body["video"] == {
        "id": video["id"],
        "subject_id": video["subject_id"],
        "created_at": video["created_at"],
        "links": {"self": f"/v1/videos/{video['id']}", "subject": f"/v1/subjects/{video['subject_id']}"},
    }
    assert body["credentials"]["issuer"] == "studio"
    assert body["credentials"]["source_type"] == "compositeWithTrainedAlgorithmicMedia"
    assert body["credentials"]["footage_sha256"] == "ab" * 32
    assert body["mark"] == {"found": True, "score": 21.5, "false_alarm": 1e-30, "video_id": video["id"]}
    assert client.get(body["links"]["self"]).json() == body
    assert answer.headers["location"] == body["links"]["self"]
    assert list(app.state.store.keys(older_than_s=-1.0, after=verifications.PREFIX)) == []


def test_the_watermark_alone_suffices_and_a_video_of_another_owner_is_not_named(client, make, app, looking):
    video = make.video(make.ready_subject())
    marked(app, video, owner="somebody")
    looking |= {"credentials": NONE, "mark": FOUND | {}}
    body = send(client).json()
    assert (body["made_here"], body["made_at"], body["video"]) == (True, video["created_at"], None)
    assert body["mark"]["video_id"] is None
    assert video["id"] not in str(body)


def test_a_video_that_was_not_made_here(client, looking):
    problem = {"code": "signingCredential.untrusted", "detail": "signing certificate untrusted"}
    stranger = CREDENTIALS | {"ours": False, "video_id": None, "created_at": None, "problems": [problem]}
    looking |= {"credentials": stranger, "mark": None}
    body = send(client).json()
    assert (body["made_here"], body["made_at"], body["video"]) == (False, None, None)
    assert body["credentials"]["problems"] == [problem]
    assert body["mark"] == {"found": False, "score": None, "false_alarm": None, "video_id": None}


def test_findings_of_an_earlier_version_can_be_read(client, looking):
    known = {name: value for name, value in CREDENTIALS.items() if name not in ("source_type", "footage_sha256")}
    looking |= {"credentials": known, "mark": None}
    body = send(client).json()
    assert (body["credentials"]["source_type"], body["credentials"]["footage_sha256"]) == (None, None)


def test_a_file_that_cannot_be_inspected(client, looking):
    looking["error"] = {"code": "not_media", "message": "It is broken.", "remedy": "Send another."}
    body = send(client).json()
    assert (body["state"], body["made_here"], body["credentials"]) == ("failed", None, None)
    assert body["error"]["code"] == "not_media"


def test_without_a_worker_the_response_is_202_with_a_location(client, monkeypatch):
    monkeypatch.setattr(routes, "WAIT_S", 0.1)
    answer = send(client)
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "2")
    body = answer.json()
    assert (body["state"], body["made_here"]) == ("queued", None)
    again = client.get(answer.headers["location"])
    assert (again.status_code, again.headers["retry-after"], again.json()) == (200, "2", body)


def test_a_repeated_request_replays_the_result(client, looking):
    looking.update(credentials=NONE, mark=None)
    key = {"Idempotency-Key": "again"}
    first, again = send(client, headers=key), send(client, headers=key)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["idempotency-replayed"] == "true"
    assert first.json() == again.json() and first.json()["made_here"] is False


def test_the_number_of_waiting_requests_is_limited(client, monkeypatch):
    monkeypatch.setattr(routes, "_waiting", threading.BoundedSemaphore(1))
    routes._waiting.acquire()
    before = time.monotonic()
    assert send(client).status_code == 202
    assert time.monotonic() - before < routes.WAIT_S


def test_a_store_that_takes_long_delays_no_other_request(client, app, monkeypatch):
    """Many files wait to be stored; reading needs none of their threads, with a key for a repeated request or without."""
    monkeypatch.setattr(routes, "WAIT_S", 0.0)
    app.state.verifying.connections = 1000  # so many are in progress as a higher quota would allow
    released, stored = threading.Event(), app.state.store.put_incoming

    def slow(*arguments):
        released.wait(60)
        return stored(*arguments)

    monkeypatch.setattr(app.state.store, "put_incoming", slow)

    def send_one(number):
        return send(client, headers={"Idempotency-Key": str(number)}, timeout=120).status_code

    with ThreadPoolExecutor(50) as pool:
        waiting = [pool.submit(send_one, number) for number in range(50)]
        try:
            time.sleep(1.0)  # they arrive
            for _ in range(3):
                start = time.monotonic()
                assert client.get("/v1/me", timeout=10).status_code == 200
                assert time.monotonic() - start < 5.0
            assert not any(each.done() for each in waiting)
        finally:
            released.set()
        assert {each.result() for each in waiting} <= {202, 403}  # 403: beyond the quota


def test_a_file_that_is_no_media_is_refused_at_once(client):
    check_problem(client.post("/v1/verify", files={"file": ("a.mp4", b"#EXTM3U\n" * 20)}), "not_media")
    check_problem(client.post("/v1/verify", files={"file": ("a.mp4", b"")}), "empty_file")
    check_problem(client.post("/v1/verify", files={"video": ("a.mp4", VIDEO)}), "validation_failed")
    check_problem(client.post("/v1/verify", files={"file": ("a.mp4", VIDEO + bytes(300_000))}), "file_too_large")
    check_problem(client.get("/v1/verifications/ver_1"), "not_found")


def test_an_upload_can_be_verified_and_is_used_up(client, looking):
    looking |= {"credentials": NONE, "mark": None}
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(VIDEO))}
    upload = client.post("/v1/uploads", headers=headers).headers["location"]
    sent = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert client.patch(upload, content=VIDEO, headers=sent).status_code == 204
    upload_id = upload.rpartition("/")[2]
    answer = client.post("/v1/verify", files={"upload_id": (None, upload_id)})
    assert answer.json()["made_here"] is False
    used = client.get(upload).json()
    assert (used["state"], used["links"]["used_by"]) == ("used", answer.json()["links"]["self"])


def test_the_record_of_consent_and_its_withdrawal(client, make, app):
    subject = make.ready_subject()
    video = make.ready_video(subject, b"film")
    consent = client.get(f"{subject['links']['self']}/consent").json()
    assert consent == subject["consent"]
    assert (consent["text"], consent["by"], consent["owner"]) == ("Ann agreed to be shown", None, LOCAL)
    assert (consent["given_at"], consent["withdrawn_at"], len(consent["digest"])) == (subject["created_at"], None, 64)

    withdraw = f"{subject['links']['self']}/withdraw-consent"
    answer = client.post(withdraw, json={"purge": True})
    assert answer.status_code == 200
    gone = answer.json()
    assert (gone["state"], gone["consent"]["purged_at"]) == ("cancelled", gone["consent"]["withdrawn_at"])
    assert gone["consent"]["digest"] == consent["digest"]
    assert {gone["links"][name] for name in ("preview", "report")} == {None}
    check_problem(client.get(f"{video['links']['self']}/file"), "consent_withdrawn")
    assert client.get(video["links"]["self"]).json()["state"] == "cancelled"
    data, files = {"subject_id": subject["id"]}, {"audio": ("say.wav", AUDIO)}
    check_problem(client.post("/v1/videos", data=data, files=files), "consent_withdrawn")
    assert list(app.state.store.keys(older_than_s=-1.0)) == []
    again = client.post(withdraw, json={})
    assert again.json()["consent"] == gone["consent"]


def test_the_person_who_consents_can_be_given_apart_from_the_text(client, make):
    assert make.subject(consent_by="Ann Lee")["consent"]["by"] == "Ann Lee"


def test_withdrawing_needs_a_json_body(client, make):
    path = f"{make.subject()['links']['self']}/withdraw-consent"
    check_problem(client.post(path), "unsupported_media_type")
    check_problem(client.post(path, json={"purge": "perhaps"}), "validation_failed")
    check_problem(client.post("/v1/subjects/sub_1/withdraw-consent", json={}), "not_found")
