"""What an upload is for: in place of a file of a form, once; and that it lives while its bytes arrive."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from datetime import timedelta

import httpx
import pytest

from api.app import create_app
from storage.database.models import Upload
from tests.api.conftest import AUDIO, PNG, VIDEO, check_problem, serving
from tests.api.routes.test_uploads import FILE, begin, patch, stored, upload


@pytest.fixture
def settings(settings):
    return settings.replace(max_open_uploads=4)


def send_subject(client, **parts):
    return client.post("/v1/subjects", files={"consent": (None, "yes"), **parts})


def test_either_the_file_or_an_upload(client, make):
    upload_id = upload(client)
    both = send_subject(client, video=("a.mp4", VIDEO), upload_id=(None, upload_id))
    assert check_problem(both, "validation_failed")["errors"][0]["pointer"] == "/upload_id"
    assert check_problem(send_subject(client), "validation_failed")["errors"][0]["pointer"] == "/video"
    check_problem(send_subject(client, upload_id=(None, "upl_0")), "not_found")
    url = begin(client).headers["location"]
    patch(client, url, 0, FILE[:5000])
    check_problem(send_subject(client, upload_id=(None, url.split("/")[-1])), "upload_incomplete")
    assert client.get("/v1/subjects").json()["items"] == []

    first = send_subject(client, upload_id=(None, upload_id)).json()
    again = check_problem(send_subject(client, upload_id=(None, upload_id)), "upload_used")
    assert first["id"] in again["detail"]
    assert [each["id"] for each in client.get("/v1/subjects").json()["items"]] == [first["id"]]


@pytest.mark.parametrize(
    ("content", "code"),
    [(PNG, "not_media"), (b"#EXTM3U\n/etc/passwd\n", "not_media")],
)
def test_the_content_of_an_upload_is_checked_like_a_file(client, settings, content, code):
    upload_id = upload(client, content)
    check_problem(send_subject(client, upload_id=(None, upload_id)), code)
    assert client.get(f"/v1/uploads/{upload_id}").json()["state"] == "complete"


def test_speech_may_be_an_upload(client, make, settings):
    subject = make.ready_subject()

    def send(**parts):
        return client.post("/v1/videos", files={"subject_id": (None, subject["id"]), **parts})

    upload_id = upload(client, AUDIO, "say.wav")
    picture = {"background": ("b.png", PNG)}
    answer = send(upload_id=(None, upload_id), **picture)
    assert answer.status_code == 202, answer.text
    video = answer.json()
    folder = f"subjects/{subject['id']}/videos/{video['id']}"
    assert (stored(make, f"{folder}/audio"), stored(make, f"{folder}/background")) == (AUDIO, PNG)
    assert client.get(f"/v1/uploads/{upload_id}").json()["used_by"] == video["id"]
    client.delete(f"/v1/videos/{video['id']}")
    assert client.get(f"/v1/uploads/{upload_id}").status_code == 404  # it had the name of the file
    too_long = upload(client, AUDIO + bytes(settings.max_audio_bytes))
    check_problem(send(upload_id=(None, too_long)), "file_too_large")
    assert check_problem(send(), "validation_failed")["errors"][0]["pointer"] == "/audio"


def test_concurrent_uses_of_an_upload_make_one_subject(client):
    upload_id = upload(client)
    barrier, answers = threading.Barrier(3), []

    def use() -> None:
        with httpx.Client(base_url=client.base_url, timeout=60) as own_client:
            barrier.wait()
            answers.append(send_subject(own_client, upload_id=(None, upload_id)))

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers)[0] == 202
    made = client.get("/v1/subjects").json()["items"]
    assert len(made) == 1
    assert client.get(f"/v1/uploads/{upload_id}").json()["used_by"] == made[0]["id"]


def test_a_service_with_a_bucket(settings, s3_settings):
    app = create_app(settings.replace(**s3_settings))
    with serving(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        subject = send_subject(client, upload_id=(None, upload(client))).json()
        with app.state.store.open(f"subjects/{subject['id']}/source") as source:
            assert source.read() == FILE


def test_an_upload_does_not_expire_while_the_bytes_of_a_body_arrive(settings):
    digest = base64.b64encode(hashlib.sha256(FILE).digest()).decode()

    def slowly():
        for start in range(0, len(FILE), len(FILE) // 9):
            time.sleep(0.35)
            yield FILE[start : start + len(FILE) // 9]

    app = create_app(settings.replace(upload_idle_s=2.0))
    with serving(app) as url, httpx.Client(base_url=url, timeout=30) as client:
        at = begin(client).headers["location"]
        sent = patch(client, at, 0, slowly(), **{"Upload-Checksum": f"sha256 {digest}"})
        assert sent.headers["upload-offset"] == str(len(FILE)), sent.text
        with app.state.database.session() as session:
            upload = session.query(Upload).one()
            assert upload.expires_at > upload.created_at + timedelta(seconds=4.0)
