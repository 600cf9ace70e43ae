"""Bundles: a subject goes from one service to another, and nothing else becomes one."""

import io
import json
import zipfile
from contextlib import closing

import httpx
import pytest
from sqlalchemy import update

from api.app import create_app
from api.services import bundles as service
from storage import bundles
from storage.database.engine import Database
from storage.database.models import Subject
from storage.objects.base import ANY_AGE_S
from storage.tables import api_keys
from tests.api.conftest import Maker, check_problem, serving
from tests.api.routes.test_uploads import upload
from tests.tables import create_tables


@pytest.fixture
def subject(client, app, make):
    """A ready subject with all its objects."""
    made = make.ready_subject()
    keys = {column: f"subjects/{made['id']}/{name}-1" for name, column in service.OBJECTS.items()}
    for column, key in keys.items():
        app.state.store.put(key, io.BytesIO(column.encode() * 100))
    with app.state.database.session() as session:
        session.execute(
            update(Subject)
            .where(Subject.id == made["id"])
            .values(**keys, consent_clip_sha256="c" * 64, may_improve_others=True)
        )
    return client.get(made["links"]["self"]).json()


def exported(client, subject):
    answer = client.post(f"{subject['links']['self']}/export")
    assert answer.status_code == 200, answer.text
    return answer


def imported(client, content, **fields):
    return client.post("/v1/subjects/import", data=fields, files={"bundle": ("a.zip", content)})


def rewritten(content, change):
    """The bundle with other members: `change` gets them by name."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packing = change(members) or zipfile.ZIP_STORED
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", packing) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return packed.getvalue()


def test_a_subject_goes_to_a_service_that_trusts_this_one(client, app, subject, settings, tmp_path):
    answer = exported(client, subject)
    assert answer.headers["content-type"] == "application/zip" and "attachment" in answer.headers["content-disposition"]
    path = f"{subject['links']['self']}/export"
    assert len(client.get(path).content) == len(answer.content)
    assert client.head(path).headers["content-disposition"] == answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        key = json.loads(archive.read(bundles.SIGNATURE))["key"]
    for trusted in ("", key):
        elsewhere = settings.replace(data_dir=tmp_path / f"other{trusted[:1]}", bundle_keys=trusted)
        with closing(Database(elsewhere.database)) as database:
            create_tables(database)
        other = create_app(elsewhere)
        with serving(other) as url, httpx.Client(base_url=url, timeout=30) as there:
            made = imported(there, answer.content)
            if not trusted:
                assert key in check_problem(made, "bundle_refused")["detail"]
                assert not list(other.state.store.keys(older_than_s=ANY_AGE_S, prefix="subjects/"))
                continue
            assert made.status_code == 201 and there.get(made.headers["location"]).json() == made.json()
            new = made.json()
            for name in ("name", "preset", "state", "footage", "quality", "view_limits", "full_frame"):
                assert new[name] == subject[name]
            assert (new["consent"]["text"], new["jobs"]) == (subject["consent"]["text"], [])
            assert new["consent"]["may_improve_others"] == subject["consent"]["may_improve_others"] is True
            assert new["imported_from"]["subject_id"] == subject["id"]
            assert new["imported_from"]["consent_digest"] == subject["consent"]["digest"]
            assert there.get(new["links"]["thumbnail"]).content == b"thumbnail_key" * 100
            assert there.get(new["links"]["footage"]).content == b"source_key" * 100
            assert there.get(new["links"]["consent_clip"]).content == b"consent_clip_key" * 100
            assert new["consent"]["clip_sha256"] == subject["consent"]["clip_sha256"]
            video = Maker(there, other).ready_video(new, b"film")
            assert there.get(video["links"]["file"]).content == b"film"
            folder = f"subjects/{new['id']}/"
            objects = {
                each for each in other.state.store.keys(older_than_s=ANY_AGE_S, prefix=folder) if "/videos/" not in each
            }
            assert objects == {folder + service._place(name) for name in service.OBJECTS}
            there.delete(new["links"]["self"])
            assert not list(other.state.store.keys(older_than_s=ANY_AGE_S, prefix=folder))


def test_a_bundle_may_come_as_an_upload_and_gets_a_name(client, subject):
    content = exported(client, subject).content
    sent = upload(client, content, "a.zip")
    form = {"name": (None, "Bea"), "upload_id": (None, sent)}
    made = client.post("/v1/subjects/import", files=form)
    assert (made.status_code, made.json()["name"]) == (201, "Bea")
    check_problem(client.post("/v1/subjects/import", files=form), "upload_used")


@pytest.mark.parametrize(
    "change",
    [
        lambda members: members.update({"runs": members["runs"][:-1] + b"x"}),
        lambda members: members.update({"runs": members["runs"][:-1]}),
        lambda members: members.update({bundles.MANIFEST: members[bundles.MANIFEST].replace(b"Ann", b"Bob")}),
        lambda members: members.pop(bundles.SIGNATURE) and None,
        lambda members: members.pop("runs") and None,
        lambda members: zipfile.ZIP_DEFLATED,
        lambda members: members.update({bundles.SIGNATURE: b"[]"}),
        lambda members: members.update({bundles.SIGNATURE: b"[" * 40_000}),
        lambda members: members.update({bundles.MANIFEST: b" " * 100_000}),
        lambda members: members.update({f"x{number}": b"" for number in range(300)}),
    ],
    ids=["bytes", "size", "manifest", "unsigned", "missing", "compressed", "signature", "nested", "large", "members"],
)
def test_a_bundle_that_was_changed_is_refused(client, app, subject, change, monkeypatch):
    monkeypatch.setattr(bundles, "MAX_MANIFEST_BYTES", 50_000)
    monkeypatch.setattr(bundles, "MAX_DIRECTORY_BYTES", 5_000)
    content = rewritten(exported(client, subject).content, change)
    before = sorted(app.state.store.keys(older_than_s=ANY_AGE_S))
    check_problem(imported(client, content), "bundle_refused")
    assert sorted(app.state.store.keys(older_than_s=ANY_AGE_S)) == before


def test_what_is_no_bundle_or_only_half_of_one_is_refused(client, subject):
    content = exported(client, subject).content
    encrypted = bytearray(content)
    encrypted[content.rindex(b"PK\x01\x02") + 8] |= bundles.ENCRYPTED  # of the signature
    for wrong in (content[: len(content) // 2], bytes(encrypted), b"PK\x03\x04" + bytes(100), b"text"):
        check_problem(imported(client, wrong), "bundle_refused")
    check_problem(client.post("/v1/subjects/import", files={"name": (None, "a")}), "validation_failed")


def test_what_may_not_be_shown_is_neither_exported_nor_imported(client, make, subject):
    content, path = exported(client, subject).content, subject["links"]["self"]
    client.post(f"{path}/trash")
    check_problem(client.post(f"{path}/export"), "in_trash")
    client.post(f"{path}/restore")
    client.post(f"{path}/withdraw-consent", json={"purge": False})
    check_problem(client.post(f"{path}/export"), "consent_withdrawn")
    check_problem(imported(client, content), "consent_withdrawn")
    check_problem(client.post(f"{make.subject()['links']['self']}/export"), "subject_not_ready")


def test_a_withdrawal_reaches_the_bundles_of_copies_and_origins_also_after_the_deletion(client, subject):
    first = exported(client, subject).content
    copy = imported(client, first).json()
    second = exported(client, copy).content
    of_the_copy = imported(client, second).json()
    third = exported(client, of_the_copy).content
    client.post(f"{copy['links']['self']}/withdraw-consent", json={"purge": False})
    for each in (copy, subject, of_the_copy):
        client.delete(each["links"]["self"])
    for bundle in (first, second, third):
        refused = check_problem(imported(client, bundle), "consent_withdrawn")
        assert "new subject" in refused["remedy"]


def test_a_service_that_needs_spoken_consent_imports_no_bundle_without_it(client, app, subject, settings):
    needing = create_app(settings.replace(data_dir=settings.data_dir, consent_clip="required"))
    with serving(needing) as url, httpx.Client(base_url=url, timeout=30) as there:
        assert imported(there, exported(client, subject).content).status_code == 201
        with app.state.database.session() as session:
            session.execute(update(Subject).where(Subject.id == subject["id"]).values(consent_clip_key=None))
        refused = check_problem(imported(there, exported(client, subject).content), "bundle_refused")
        assert "spoken consent" in refused["detail"]


def test_a_missing_object_is_told_before_anything_is_sent(client, app, subject):
    app.state.store.delete(f"subjects/{subject['id']}/source-1")
    check_problem(client.post(f"{subject['links']['self']}/export"), "object_missing")


def test_a_subject_counts_and_needs_a_key(client, app, subject, settings, monkeypatch):
    content = exported(client, subject).content
    full = create_app(settings.replace(data_dir=settings.data_dir, quota_subjects=1))
    with serving(full) as url, httpx.Client(base_url=url, timeout=30) as there:
        check_problem(imported(there, content), "quota_exceeded")
    made = imported(client, content).json()
    with app.state.database.session(write=False) as session:
        sizes = 100 * sum(map(len, service.OBJECTS.values()))
        assert session.get(Subject, made["id"]).stored_bytes == sizes
    monkeypatch.setattr(service, "load_key", lambda settings: (_ for _ in ()).throw(service.WebhooksOff("none")))
    check_problem(client.post(f"{subject['links']['self']}/export"), "bundles_off")
    check_problem(imported(client, content), "bundles_off")
    with app.state.database.session() as session:
        _, token = api_keys.create(session, owner="local", name="sender", scopes=["write"])
    path = f"{subject['links']['self']}/export"
    check_problem(client.post(path, headers={"Authorization": f"Bearer {token}"}), "forbidden")
