"""S3Store: the properties of a bucket, on a real server."""

from __future__ import annotations

import hashlib
import io
import socket
import subprocess
import sys
import time

import httpx
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from storage.database.models import now
from storage.errors import ObjectDamaged, ObjectMissing, StoreAway
from storage.objects import s3, s3_client
from storage.objects.open_store import open_store
from storage.objects.s3 import S3Store
from storage.settings import environment_of
from tests.servers import BUCKET, free_port
from tests.storage.objects.test_objects import FUTURE_S, PAYLOAD, keys

LARGE = bytes(range(251)) * ((s3.PART_BYTES * 2) // 250)
"""Three parts."""


@pytest.fixture
def settings(settings, s3_settings):
    return settings.replace(**s3_settings)


@pytest.fixture
def store(settings):
    return open_store(settings)


@pytest.fixture
def client(s3_server):
    """Another client of the same bucket."""
    return s3_server.client()


def test_large_objects_are_stored_in_parts(store, client, tmp_path):
    stored = store.put("a/large", io.BytesIO(LARGE))
    assert stored.sha256 == hashlib.sha256(LARGE).hexdigest()
    head = client.head_object(Bucket=BUCKET, Key=store.folder + "a/large")
    assert head["ETag"].endswith('-3"')
    assert head["Metadata"] == {"sha256": stored.sha256}
    store.fetch("a/large", tmp_path / "large")
    assert (tmp_path / "large").read_bytes() == LARGE
    with store.open("a/large") as file:
        file.seek(s3.PART_BYTES - 3)
        assert file.read(6) == LARGE[s3.PART_BYTES - 3 :][:6]


def test_nothing_is_visible_before_the_last_part(store):
    exists = []

    class Watched(io.BytesIO):
        watching = False

        def seek(self, *where):
            self.watching = True  # the second pass: this one is sent
            return super().seek(*where)

        def read(self, size=-1):
            if self.watching and self.tell() > 0:
                exists.append(store.exists("a"))
            return super().read(size)

    store.put("a", Watched(LARGE))
    assert exists and not any(exists)
    assert store.exists("a")


def test_a_file_that_changes_while_it_is_sent_is_no_object(store):
    class Changing(io.BytesIO):
        def seek(self, *where):
            self.getbuffer()[0] ^= 1
            return super().seek(*where)

    with pytest.raises(ObjectDamaged, match="changed"):
        store.put("a", Changing(PAYLOAD))
    assert not store.exists("a")


@pytest.mark.parametrize("content", [b"changed", PAYLOAD[:-1] + b"x"])
def test_an_object_that_was_changed_is_damaged(store, client, tmp_path, content):
    stored = store.put("a", io.BytesIO(PAYLOAD))
    place = store.folder + "a"
    client.put_object(Bucket=BUCKET, Key=place, Body=content, Metadata={"sha256": stored.sha256})
    with pytest.raises(ObjectDamaged, match="SHA-256"):
        store.fetch("a", tmp_path / "a")
    assert list(tmp_path.glob("*a")) == []


def test_an_object_that_is_deleted_while_it_is_read_is_missing(store):
    store.put("a", io.BytesIO(LARGE))
    with store.open("a") as file, pytest.raises(ObjectMissing):
        store.delete("a")
        file.read()


def test_an_upload_killed_in_the_middle_is_no_object_and_is_deleted_later(store, settings):
    program = (
        "import io, os, signal; from storage import settings; from storage.objects import s3\n"
        "class Killing(io.BytesIO):\n"
        "    passes = 0\n"
        "    def seek(self, *where): self.passes += 1; return super().seek(*where)\n"
        "    def read(self, size=-1):\n"
        "        if self.passes and self.tell() > s3.PART_BYTES: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().read(size)\n"
        "s3.S3Store(settings.load()).put('s/a', Killing(bytes(3 * s3.PART_BYTES)))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], env=environment_of(settings), timeout=120)
    assert ended.returncode == -9
    assert keys(store) == []
    assert store.delete_unfinished(older_than_s=60) == 0, "by its parts it was alive a moment ago"
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 1
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0


def test_an_upload_that_began_just_now_is_left_alone(store, client, monkeypatch):
    client.create_multipart_upload(Bucket=BUCKET, Key=store.folder + "a")
    uploads = store._uploads

    def dated(place):  # this server says of all uploads that they began years ago
        return ({**upload, "Initiated": now()} for upload in uploads(place))

    monkeypatch.setattr(store, "_uploads", dated)
    assert store.delete_unfinished(older_than_s=60) == 0
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 1


def test_deleting_a_folder_aborts_its_uploads(store, client):
    for place in ("s/1/a", "s/2/a"):
        client.create_multipart_upload(Bucket=BUCKET, Key=store.folder + place)
    store.delete_prefix("s/1/")
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 1


def test_more_is_deleted_than_goes_into_one_request(store, monkeypatch):
    monkeypatch.setattr(s3, "DELETE_BATCH", 3)
    for number in range(7):
        store.put(f"s/{number}", io.BytesIO(b"x"))
    store.delete_prefix("s/")
    assert keys(store) == []


def test_nothing_stays_of_what_is_deleted_from_a_bucket_with_versions(settings, client):
    client.create_bucket(Bucket="versions")
    client.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    store = open_store(settings.replace(store_url="s3://versions/ours"))
    for key in ("s/1/a", "s/1/a", "s/1/b", "s/10", "s/2/a"):
        store.put(key, io.BytesIO(b"x"))
    client.delete_object(Bucket="versions", Key="ours/s/2/a")  # as an earlier version of this service did
    store.move("s/1/b", "trash/1")

    def kept():
        listed = client.list_object_versions(Bucket="versions")
        return sorted(each["Key"] for kind in ("Versions", "DeleteMarkers") for each in listed.get(kind, []))

    assert kept() == [f"ours/{key}" for key in ("s/1/a", "s/1/a", "s/10", "s/2/a", "s/2/a", "trash/1")]
    store.delete("s/1/a", "s/missing", "trash/1")
    assert kept() == [f"ours/{key}" for key in ("s/10", "s/2/a", "s/2/a")]
    store.delete_prefix("s/")
    assert kept() == []


def test_a_store_that_fails_to_tell_of_versions_is_asked_again(store, monkeypatch):
    store.put("a", io.BytesIO(b"x"))
    codes = iter(["SlowDown", "NotImplemented"])

    def refuse(**_):
        raise ClientError({"Error": {"Code": next(codes)}}, "GetBucketVersioning")

    monkeypatch.setattr(store._client, "get_bucket_versioning", refuse)
    with pytest.raises(StoreAway):
        store.delete("a")
    assert store.exists("a")
    store.delete("a")
    assert not store.exists("a")


def test_stores_in_one_bucket_do_not_see_each_other(store, settings):
    other = S3Store(settings.replace(store_url=f"{settings.store_url}/inner"))
    whole = S3Store(settings.replace(store_url=f"s3://{BUCKET}"))
    other.put("a", io.BytesIO(b"x"))
    assert not store.exists("a")
    assert store.exists("inner/a")
    assert whole.exists(store.folder + "inner/a")


def test_a_link_downloads_the_object(store):
    store.put("a", io.BytesIO(PAYLOAD))
    answer = httpx.get(store.link("a", name="Zoë.mp4", media_type="video/mp4"))
    assert answer.content == PAYLOAD
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''Zo%C3%AB.mp4"
    part = httpx.get(store.link("a", name="a", media_type="x/y"), headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, PAYLOAD[10:20])


def test_links_are_signed_and_end(settings):
    store = S3Store(settings.replace(link_s=60))
    link = httpx.URL(store.link("a", name="a", media_type="video/mp4"))
    assert link.params["X-Amz-Expires"] == "60"
    assert link.params["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert settings.s3_secret_key.get_secret_value() not in str(link)


def test_links_need_an_address_that_clients_can_reach(settings):
    private = S3Store(settings.replace(s3_public_url=""))
    assert private.link("a", name="a", media_type="video/mp4") is None
    elsewhere = S3Store(settings.replace(s3_public_url="https://files.example"))
    assert elsewhere.link("a", name="a", media_type="video/mp4").startswith("https://files.example/")


@pytest.mark.parametrize("wrong", ["address", "bucket"])
def test_a_store_that_does_not_answer_is_named(settings, wrong, monkeypatch):
    monkeypatch.setattr(s3_client, "MAX_ATTEMPTS", 1)
    changed = {"s3_endpoint_url": f"http://127.0.0.1:{free_port()}"} if wrong == "address" else {"store_url": "s3://no"}
    store = S3Store(settings.replace(**changed))
    for attempt in (store.ping, lambda: store.put("a", io.BytesIO(b"x"))):
        with pytest.raises(StoreAway) as refusal:
            attempt()
        assert refusal.value.message in ("The object store does not answer.", "The object store refused.")
        shown = refusal.value.message + refusal.value.remedy
        assert "127.0.0.1" not in shown and "NoSuchBucket" not in shown
        assert ("127.0.0.1" if wrong == "address" else "NoSuchBucket") in str(refusal.value)


def test_secrets_are_not_printed(settings):
    assert settings.s3_secret_key.get_secret_value()
    assert settings.s3_secret_key.get_secret_value() not in repr(settings)


def test_an_object_that_is_moved_in_parts_keeps_its_digest(store, monkeypatch):
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20, use_threads=False)
    monkeypatch.setattr(s3, "COPY", parts)
    stored = store.put("a", io.BytesIO(bytes(6 << 20)))
    store.move("a", "b")
    with store.open("b") as file:
        assert file.raw.sha256 == stored.sha256
        assert file.read() == bytes(6 << 20)


def test_an_impatient_store_gives_a_server_that_does_not_answer_up(settings, monkeypatch):
    monkeypatch.setattr(s3, "IMPATIENT", {"connect_timeout": 1, "read_timeout": 0.5})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        store = open_store(settings.replace(s3_endpoint_url=url), impatient=True)
        start = time.monotonic()
        for request in (store.size, store.open, store.delete, lambda key: store.delete_prefix(f"{key}/")):
            with pytest.raises(StoreAway):
                request("a/key")
        assert time.monotonic() - start < 40.0
