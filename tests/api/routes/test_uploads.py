"""Resumable uploads: the protocol by hand and by a tus client."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from datetime import timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from types import SimpleNamespace

import pytest
from sqlalchemy import update
from tusclient.client import TusClient

from api.requests import tus
from storage.database.models import Upload, now
from tests.api.conftest import VIDEO, check_problem

TUS = {"Tus-Resumable": "1.0.0"}
FILE = VIDEO + random.Random(5).randbytes(150_000)


@pytest.fixture
def settings(settings):
    return settings.replace(max_open_uploads=4)


def begin(client, content: bytes = FILE, name: str = "ann.mp4", **headers):
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    headers = {**TUS, "Upload-Length": str(len(content)), "Upload-Metadata": metadata, **headers}
    answer = client.post("/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    return answer


def patch(client, url: str, offset: int, content: bytes, **headers):
    headers = {**TUS, "Upload-Offset": str(offset), "Content-Type": tus.MEDIA_TYPE, **headers}
    return client.patch(url, content=content, headers=headers)


def offset(client, url: str) -> int:
    answer = client.head(url, headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


def upload(client, content: bytes = FILE, name: str = "ann.mp4") -> str:
    """A complete upload; its id."""
    url = begin(client, content, name).headers["location"]
    assert patch(client, url, 0, content).status_code == 204
    return url.split("/")[-1]


def stored(make, key: str) -> bytes:
    """The content of an object."""
    with make.store.open(key) as file:
        return file.read()


def objects(settings) -> list:
    return sorted(path.name for path in settings.objects.rglob("*") if path.is_file())


def test_options_names_the_version_and_the_extensions(client, settings):
    for path in ("/v1/uploads", "/v1/uploads/upl_1"):
        answer = client.options(path)
        assert answer.status_code == 204
        assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
        assert answer.headers["tus-max-size"] == str(settings.max_video_bytes)
        assert answer.headers["tus-checksum-algorithm"] == "sha1,sha256"
        assert set(answer.headers["tus-extension"].split(",")) == {
            "creation",
            "creation-with-upload",
            "expiration",
            "termination",
            "checksum",
        }


def test_an_upload_from_its_beginning_to_its_use(client, make):
    answer = begin(client)
    url, shown = answer.headers["location"], answer.json()
    assert url == shown["links"]["self"] == f"/v1/uploads/{shown['id']}"
    assert (shown["state"], shown["name"], shown["size_bytes"]) == ("receiving", "ann.mp4", len(FILE))
    assert answer.headers["upload-offset"] == "0"
    cuts = [0, 1, 70_000, len(FILE)]
    for start, stop in pairwise(cuts):
        answer = patch(client, url, start, FILE[start:stop])
        assert answer.status_code == 204
        assert answer.headers["tus-resumable"] == "1.0.0"
        assert int(answer.headers["upload-offset"]) == offset(client, url) == stop
    head = client.head(url, headers=TUS)
    assert head.headers["upload-length"] == str(len(FILE))
    assert head.headers["cache-control"] == "no-store"
    assert base64.b64decode(head.headers["upload-metadata"].split(" ")[1]) == b"ann.mp4"
    assert parsedate_to_datetime(head.headers["upload-expires"]) > now() + timedelta(hours=23)
    assert client.get(url).json()["state"] == "complete"

    subject = client.post("/v1/subjects", files={"consent": (None, "yes"), "upload_id": (None, shown["id"])})
    assert subject.status_code == 202, subject.text
    subject = subject.json()
    assert subject["name"] == "ann"
    assert stored(make, f"subjects/{subject['id']}/source") == FILE
    shown = client.get(url).json()
    assert (shown["state"], shown["used_by"]) == ("used", subject["id"])
    assert shown["links"]["used_by"] == subject["links"]["self"]
    assert [key for key in make.store.keys(older_than_s=0) if key.startswith("uploads/")] == []


def test_the_first_bytes_may_come_with_the_beginning(client):
    headers = {**TUS, "Upload-Length": str(len(FILE)), "Content-Type": tus.MEDIA_TYPE}
    answer = client.post("/v1/uploads", headers=headers, content=FILE[:1000])
    assert (answer.status_code, answer.headers["upload-offset"]) == (201, "1000")
    answer = client.post("/v1/uploads", headers=headers, content=FILE)
    assert answer.json()["state"] == "complete"


def test_a_tus_client(client, make):
    tusc = TusClient(str(client.base_url.join("/v1/uploads")))
    film, names = io.BytesIO(FILE), {"filename": "me.mp4"}
    uploader = tusc.uploader(file_stream=film, chunk_size=50_000, metadata=names, upload_checksum=True)
    uploader.upload_chunk()
    again = tusc.uploader(file_stream=film, chunk_size=60_000, url=uploader.url)  # finds out where it was
    assert again.offset == 50_000
    again.upload()
    subject = client.post(
        "/v1/subjects", files={"consent": (None, "yes"), "upload_id": (None, uploader.url.split("/")[-1])}
    ).json()
    assert stored(make, f"subjects/{subject['id']}/source") == FILE


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Tus-Resumable": "0.2.2"}, "tus_version_unsupported"),
        ({"Tus-Resumable": ""}, "tus_version_unsupported"),
        ({"Upload-Length": ""}, "validation_failed"),
        ({"Upload-Length": "0"}, "validation_failed"),
        ({"Upload-Length": "-5"}, "validation_failed"),
        ({"Upload-Length": "ten"}, "validation_failed"),
        ({"Upload-Length": "1_0"}, "validation_failed"),
        ({"Upload-Length": "+10"}, "validation_failed"),
        ({"Upload-Length": "9" * 30}, "validation_failed"),
        ({"Upload-Length": "200001"}, "file_too_large"),
        ({"Upload-Metadata": "filename w6k=,filename w6k="}, "validation_failed"),
        ({"Upload-Metadata": "filename %%%"}, "validation_failed"),
        ({"Upload-Metadata": "filename a"}, "validation_failed"),
        ({"Upload-Metadata": "," * 9}, "validation_failed"),
        ({"Upload-Metadata": "a " + "A" * 9000}, "validation_failed"),
        ({"Content-Type": "application/json"}, "unsupported_media_type"),
        ({"Content-Type": tus.MEDIA_TYPE, "Upload-Checksum": "crc32 AAAA"}, "bad_request"),
        ({"Content-Type": tus.MEDIA_TYPE, "Upload-Checksum": "sha1 ?"}, "bad_request"),
        ({"Content-Type": tus.MEDIA_TYPE, "Upload-Checksum": "sha1 AAAA"}, "checksum_mismatch"),
    ],
)
def test_bad_beginnings(client, settings, headers, code):
    content = b"x" if "Content-Type" in headers else b""
    answer = client.post("/v1/uploads", headers={**TUS, "Upload-Length": "5000", **headers}, content=content)
    check_problem(answer, code)
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert client.get("/v1/uploads").json()["items"] == [] or code == "checksum_mismatch"
    if code == "tus_version_unsupported":
        assert answer.headers["tus-version"] == "1.0.0"
    assert objects(settings) == []


@pytest.mark.parametrize(
    ("headers", "content", "code"),
    [
        ({"Upload-Offset": "99"}, b"x", "offset_mismatch"),
        ({"Upload-Offset": "101"}, b"x", "offset_mismatch"),
        ({"Upload-Offset": "-1"}, b"x", "validation_failed"),
        ({"Upload-Offset": ""}, b"x", "validation_failed"),
        ({"Tus-Resumable": "2.0.0"}, b"x", "tus_version_unsupported"),
        ({"Content-Type": "video/mp4"}, b"x", "unsupported_media_type"),
        ({}, FILE[99:], "file_too_large"),
        ({"Upload-Checksum": "sha256 AAAA"}, b"x", "checksum_mismatch"),
    ],
)
def test_bad_parts_change_nothing(client, headers, content, code):
    url = begin(client).headers["location"]
    assert patch(client, url, 0, FILE[:100]).status_code == 204
    check_problem(patch(client, url, 100, content, **headers), code)
    assert offset(client, url) == 100


def test_a_body_of_unknown_length_ends_at_the_size_of_the_upload(client):
    url = begin(client).headers["location"]
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": tus.MEDIA_TYPE}
    check_problem(client.patch(url, content=iter([FILE, b"x"]), headers=headers), "file_too_large")
    current = offset(client, url)
    rest = client.patch(url, content=iter([FILE[current:]]), headers=headers | {"Upload-Offset": str(current)})
    assert rest.is_success
    assert offset(client, url) == len(FILE)


@pytest.mark.parametrize("name", tus.CHECKSUMS)
def test_a_body_with_a_checksum_counts_completely_or_not_at_all(client, name, monkeypatch):
    monkeypatch.setattr(tus, "PART_BYTES", 1000)  # bytes that are not checked yet are not stored
    url = begin(client).headers["location"]
    checksum = f"{name} {base64.b64encode(hashlib.new(name, FILE[:5000]).digest()).decode()}"
    corrupted = FILE[:4999] + bytes([FILE[4999] ^ 1])
    check_problem(patch(client, url, 0, corrupted, **{"Upload-Checksum": checksum}), "checksum_mismatch")
    assert offset(client, url) == 0
    assert patch(client, url, 0, FILE[:5000], **{"Upload-Checksum": checksum}).headers["upload-offset"] == "5000"


def test_a_client_that_cannot_patch(client, settings):
    url = begin(client).headers["location"]
    headers = {**TUS, "Upload-Offset": "0", "Content-Type": tus.MEDIA_TYPE, "X-HTTP-Method-Override": "PATCH"}
    assert client.post(url, headers=headers, content=FILE[:10]).status_code == 204
    assert client.post(url, headers={**TUS, "X-HTTP-Method-Override": "DELETE"}).status_code == 204
    check_problem(client.get(url), "not_found")
    assert objects(settings) == []


def test_expired_and_unknown_uploads_are_not_found(client, make):
    url = begin(client).headers["location"]
    with make.database.session() as session:
        session.execute(update(Upload).values(expires_at=now()))
    for path in (url, "/v1/uploads/upl_0", "/v1/uploads/%00"):
        assert client.head(path, headers=TUS).status_code == 404
        check_problem(client.get(path), "not_found")
        check_problem(patch(client, path, 0, b"x"), "not_found")
        check_problem(client.delete(path, headers=TUS), "not_found")


def test_uploads_are_listed_and_limited_in_number(client):
    ids = [begin(client).json()["id"] for _ in range(4)]
    refused = client.post("/v1/uploads", headers={**TUS, "Upload-Length": "5"})
    check_problem(refused, "too_many_uploads")
    assert [each["id"] for each in client.get("/v1/uploads").json()["items"]] == ids[::-1]
    page = client.get("/v1/uploads", params={"limit": 3}).json()
    rest = client.get("/v1/uploads", params={"cursor": page["next_cursor"]}).json()
    assert [each["id"] for each in rest["items"]] == ids[:1]
    assert client.delete(f"/v1/uploads/{ids[0]}", headers=TUS).status_code == 204
    begin(client)


def test_an_upload_beyond_the_free_space_is_refused_before_it_begins(client, settings, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=9_999))
    check_problem(client.post("/v1/uploads", headers={**TUS, "Upload-Length": "5000"}), "disk_full")
