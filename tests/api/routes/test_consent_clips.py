"""Clips of spoken consent: taken where the operator wants them, a part of the record, seen by the owner alone."""

from __future__ import annotations

import hashlib
import json

import httpx
import pytest

from api.app import create_app
from api.services import samples
from storage import object_places
from storage.database.models import Subject
from storage.objects.base import ANY_AGE_S
from tests.adnerf_core.files.clock import clip, run_ffmpeg
from tests.api.conftest import AUDIO, VIDEO, check_problem, serving
from tests.api.routes.test_uploads import upload

CONSENT = "Ann agreed to be shown, 2 May"
LONG = ["-f", "lavfi", "-i", "color=s=16x16:r=1", "-f", "lavfi", "-i", "anullsrc=r=8000", "-t", "61"]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> dict[str, bytes]:
    """A clip, and what is none."""
    folder = tmp_path_factory.mktemp("spoken")
    small = ("-pix_fmt", "yuv420p", "-crf", "40")
    made = {
        "good": clip(folder / "good.mp4", *small),
        "short": clip(folder / "short.mp4", *small, "-t", "1"),
        "no sound": clip(folder / "silent.mp4", *small, audio=False),
        "no picture": clip(folder / "unseen.mp4", video=False),
    }
    run_ffmpeg(*LONG, folder / "long.mp4")
    return {name: path.read_bytes() for name, path in made.items()} | {"long": (folder / "long.mp4").read_bytes()}


@pytest.fixture
def wanted(settings):
    """Whether clips are optional or required."""
    return "optional"


@pytest.fixture
def app(settings, wanted):
    return create_app(settings.replace(consent_clip=wanted))


def post(client, files, headers=None, **fields):
    sent = {"video": ("ann.mp4", VIDEO)} | files
    return client.post("/v1/subjects", data={"consent": CONSENT} | fields, files=sent, headers=headers)


def stored(app):
    return sorted(app.state.store.keys(older_than_s=ANY_AGE_S, prefix="subjects/"))


def test_a_clip_is_kept_with_the_record_until_the_person_is_deleted(client, app, spoken):
    answer = post(client, {"consent_clip": ("yes.mp4", spoken["good"])}, {"Idempotency-Key": "1"})
    assert answer.status_code == 202, answer.text
    subject, digest = answer.json(), hashlib.sha256(spoken["good"]).hexdigest()
    again = post(client, {"consent_clip": ("yes.mp4", spoken["good"])}, {"Idempotency-Key": "1"})
    assert again.json() == subject and again.headers["idempotency-replayed"] == "true"
    link, folder = subject["links"]["consent_clip"], f"subjects/{subject['id']}/"
    assert stored(app) == [f"{folder}consent_clip", f"{folder}source"]
    whole = client.get(link)
    assert (whole.content, whole.headers["content-type"]) == (spoken["good"], "video/mp4")
    assert client.get(link, headers={"Range": "bytes=4-7"}).content == b"ftyp"
    assert client.head(link).headers["content-length"] == str(len(spoken["good"]))
    assert client.get(link, headers={"If-None-Match": whole.headers["etag"]}).status_code == 304
    with app.state.database.session(write=False) as session:
        row = session.get(Subject, subject["id"])
        assert row.stored_bytes == len(VIDEO) + len(spoken["good"])
        assert {row.consent_clip_key} <= object_places.named_keys(session)
        assert object_places.unneeded(session, [row.consent_clip_key]) == []
        record = {
            "by": None,
            "clip_sha256": digest,
            "footage_sha256": hashlib.sha256(VIDEO).hexdigest(),
            "given_at": row.created_at.isoformat(),
            "owner": "local",
            "subject_id": subject["id"],
            "text": CONSENT,
        }
    signed = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    assert subject["consent"]["clip_sha256"] == digest
    assert subject["consent"]["digest"] == hashlib.sha256(signed).hexdigest()
    client.delete(subject["links"]["self"])
    assert stored(app) == [] and client.get(link).status_code == 404


def test_a_withdrawal_leaves_the_clip_with_the_record_and_a_purge_its_digest_alone(client, app, spoken):
    subject = post(client, {"consent_clip": ("yes.mp4", spoken["good"])}).json()
    link, withdraw = subject["links"]["consent_clip"], f"{subject['links']['self']}/withdraw-consent"
    withdrawn = client.post(withdraw, json={}).json()
    assert (withdrawn["links"]["footage"], withdrawn["links"]["consent_clip"]) == (None, link)
    assert client.get(link).content == spoken["good"]
    purged = client.post(withdraw, json={"purge": True}).json()
    assert purged["links"]["consent_clip"] is None and stored(app) == []
    assert purged["consent"] | {"withdrawn_at": None, "purged_at": None} == subject["consent"]
    check_problem(client.get(link), "not_found")


def test_footage_and_clip_may_both_come_as_uploads(client, spoken):
    footage, sent = upload(client, VIDEO), upload(client, spoken["good"])
    form = {"consent": (None, CONSENT), "upload_id": (None, footage), "consent_upload_id": (None, sent)}
    subject = client.post("/v1/subjects", files=form)
    assert subject.status_code == 202, subject.text
    assert client.get(subject.json()["links"]["consent_clip"]).content == spoken["good"]
    used = {each["id"]: each["used_by"] for each in client.get("/v1/uploads").json()["items"]}
    assert used == dict.fromkeys((footage, sent), subject.json()["id"])
    check_problem(post(client, {}, consent_upload_id=sent), "upload_used")
    twice = post(
        client, {"consent_clip": ("yes.mp4", spoken["good"])}, consent_upload_id=upload(client, spoken["good"])
    )
    assert check_problem(twice, "validation_failed")["errors"][0]["pointer"] == "/consent_upload_id"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("short", "lasts 1.0 s"),
        ("long", "lasts 61"),
        ("no sound", "no sound"),
        ("no picture", "no picture"),
        ("damaged", "cannot be read"),
        ("audio", "cannot be read"),
    ],
)
def test_another_file_is_refused_and_nothing_stays(client, app, spoken, what, says):
    content = (spoken | {"damaged": spoken["good"][: len(spoken["good"]) // 2], "audio": AUDIO})[what]
    footage = upload(client, VIDEO)
    form = {"consent": (None, CONSENT), "upload_id": (None, footage), "consent_clip": ("yes.mp4", content)}
    refused = check_problem(client.post("/v1/subjects", files=form), "consent_clip_refused")
    assert says in refused["detail"] and "2 to 60 seconds" in refused["remedy"]
    assert stored(app) == []
    assert client.get("/v1/uploads").json()["items"][0]["state"] == "complete"


def test_a_clip_of_no_media_or_too_large_is_refused_as_footage_is(client, app, settings):
    check_problem(post(client, {"consent_clip": ("yes.mp4", b"yes, I agree")}), "not_media")
    small = create_app(settings.replace(consent_clip="optional", max_consent_clip_bytes=1000))
    with serving(small) as url, httpx.Client(base_url=url, timeout=30) as there:
        check_problem(post(there, {"consent_clip": ("yes.mp4", VIDEO)}), "file_too_large")
        assert there.get("/v1/me").json()["limits"]["consent_clip_bytes"] == 1000


@pytest.mark.parametrize("wanted", ["required"])
def test_where_a_clip_is_required_only_the_sample_person_is_made_without_it(client, app, settings, spoken, wanted):
    assert client.get("/v1/me").json()["limits"]["consent_clip"] == wanted
    missing = check_problem(post(client, {}), "validation_failed")
    assert missing["errors"][0]["pointer"] == "/consent_clip" and "2 to 60 s" in missing["detail"]
    assert stored(app) == []
    assert post(client, {"consent_clip": ("yes.mp4", spoken["good"])}).status_code == 202
    (settings.data_dir / "samples").mkdir()
    (settings.data_dir / "samples" / samples.FILES["person"]).write_bytes(VIDEO)
    check_problem(post(client, {}, sample="person"), "validation_failed")  # with footage of somebody's
    form = {"consent": (None, CONSENT), "sample": (None, "person")}
    subject = client.post("/v1/subjects", files=form).json()
    assert (subject["name"], subject["consent"]["clip_sha256"]) == ("Sample person", None)
    assert client.get(subject["links"]["footage"]).content == VIDEO


@pytest.mark.parametrize("wanted", ["off"])
def test_where_clips_are_off_their_fields_are_unknown(client, make, spoken, wanted):
    assert client.get("/v1/me").json()["limits"]["consent_clip"] == wanted
    for answer, name in (
        (post(client, {"consent_clip": ("yes.mp4", spoken["good"])}), "consent_clip"),
        (post(client, {}, consent_upload_id="upl_1"), "consent_upload_id"),
    ):
        (error,) = check_problem(answer, "validation_failed")["errors"]
        assert error["pointer"] == f"/{name}" and "There is no such field here" in error["detail"]
        assert "consent_clip" not in error["detail"] and "consent_upload" not in error["detail"]
    subject = make.subject()
    assert subject["consent"]["clip_sha256"] is None and subject["links"]["consent_clip"] is None
    check_problem(client.get(f"{subject['links']['self']}/consent/clip"), "not_found")
