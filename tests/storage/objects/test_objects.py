"""What every object store does: an object is there completely or not at all, and no key leads out of the store."""

from __future__ import annotations

import hashlib
import io

import pytest

from storage.errors import BadSetting, EmptyFile, ObjectMissing
from storage.objects.base import CHUNK_BYTES
from storage.objects.open_store import open_store
from storage.settings import Settings

PAYLOAD = bytes(range(256)) * (CHUNK_BYTES // 100)
FUTURE_S = -3600.0
"""As an age: everything, whatever the store's clock says."""


def keys(store, **more):
    return list(store.keys(older_than_s=FUTURE_S, **more))


def test_a_stored_object_can_be_read(store):
    stored = store.put("a/b", io.BytesIO(PAYLOAD))
    assert (stored.key, stored.size, stored.sha256) == ("a/b", len(PAYLOAD), hashlib.sha256(PAYLOAD).hexdigest())
    with store.open("a/b") as file:
        assert file.read() == PAYLOAD
        file.seek(1000)
        assert file.read(5) == PAYLOAD[1000:1005]
        file.seek(-7, io.SEEK_END)
        assert file.read() == PAYLOAD[-7:]
        assert file.read() == b""
    assert store.size("a/b") == len(PAYLOAD)
    assert store.exists("a/b") and not store.exists("a")


def test_putting_begins_at_the_position_of_the_source(store):
    source = io.BytesIO(b"head and body")
    source.seek(5)
    assert store.put("a", source).size == 8
    with store.open("a") as file:
        assert file.read() == b"and body"


class Broken(io.BytesIO):
    """A source that fails after the first chunk."""

    def read(self, size=-1):
        if self.tell() > 0:
            raise ConnectionError("gone")
        return super().read(CHUNK_BYTES)


@pytest.mark.parametrize(("source", "error"), [(io.BytesIO, EmptyFile), (lambda: Broken(PAYLOAD), ConnectionError)])
def test_a_failed_put_leaves_nothing_and_keeps_the_old_object(store, source, error):
    store.put("a/old", io.BytesIO(b"old"))
    for key in ("a/new", "a/old"):
        with pytest.raises(error):
            store.put(key, source())
    assert keys(store) == ["a/old"]
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0
    with store.open("a/old") as file:
        assert file.read() == b"old"


@pytest.mark.parametrize("size", [1, len(PAYLOAD), 17 << 20])  # the last is sent to a bucket in parts
def test_a_received_file_becomes_an_object(store, size):
    content = bytes(range(256)) * (size // 256 + 1)
    with store.create_incoming() as incoming:
        for start in range(0, size, CHUNK_BYTES):
            incoming.write(memoryview(content)[start : min(size, start + CHUNK_BYTES)])
        assert keys(store) == []
        stored = store.put_incoming("a/b", incoming)
    assert (stored.key, stored.size, stored.sha256) == ("a/b", size, hashlib.sha256(content[:size]).hexdigest())
    with store.open("a/b") as file:
        assert file.read() == content[:size]
    assert keys(store) == ["a/b"]
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0


def test_a_received_file_that_is_not_stored_leaves_nothing(store):
    store.put("a/old", io.BytesIO(b"old"))
    with store.create_incoming() as incoming, pytest.raises(EmptyFile):
        store.put_incoming("a/new", incoming)
    with store.create_incoming() as incoming:
        incoming.write(b"x")
    with store.create_incoming() as incoming, pytest.raises(ValueError, match="not a key"):
        incoming.write(b"x")
        store.put_incoming("a/../../b", incoming)
    assert keys(store) == ["a/old"]
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0


def test_a_received_file_takes_the_place_of_an_object(store):
    store.put("a", io.BytesIO(b"old"))
    with store.create_incoming() as incoming:
        incoming.write(b"new")
        store.put_incoming("a", incoming)
    with store.open("a") as file:
        assert file.read() == b"new"


def test_a_moved_object_keeps_its_content_and_its_digest(store):
    stored = store.put("a/b", io.BytesIO(PAYLOAD))
    store.put("c/d", io.BytesIO(b"old"))
    store.move("a/b", "c/d")
    assert keys(store) == keys(store, prefix="c/") == ["c/d"]
    assert keys(store, prefix="a/") == []
    with store.open("c/d") as file:
        assert hashlib.sha256(file.read()).hexdigest() == stored.sha256
    with pytest.raises(ObjectMissing):
        store.move("a/b", "e")
    assert keys(store) == ["c/d"]


def test_objects_are_joined_in_order(store):
    parts = [PAYLOAD[:1], PAYLOAD[1:1000], PAYLOAD[1000:]]
    for number, part in enumerate(parts):
        store.put(f"parts/{number}", io.BytesIO(part))
    part_keys = [f"parts/{number}" for number in range(len(parts))]
    stored = store.put_joined("a/b", part_keys)
    assert (stored.key, stored.size, stored.sha256) == ("a/b", len(PAYLOAD), hashlib.sha256(PAYLOAD).hexdigest())
    with store.open("a/b") as file:
        assert file.read() == PAYLOAD
    assert keys(store) == ["a/b", *part_keys]


@pytest.mark.parametrize(("part_keys", "error"), [([], EmptyFile), (["p/0", "p/none"], ObjectMissing)])
def test_a_join_that_fails_leaves_nothing(store, part_keys, error):
    store.put("p/0", io.BytesIO(b"x"))
    with pytest.raises(error):
        store.put_joined("a", part_keys)
    assert keys(store) == ["p/0"]
    assert store.delete_unfinished(older_than_s=FUTURE_S) == 0


def test_a_fetched_object_is_the_object(store, tmp_path):
    store.put("a", io.BytesIO(PAYLOAD))
    path = tmp_path / "there" / "b"
    for _ in range(2):
        store.fetch("a", path)
        assert path.read_bytes() == PAYLOAD
    path.unlink()
    assert store.exists("a")
    assert list(path.parent.iterdir()) == []


def test_deleting(store):
    for key in ("s/1/a", "s/1/b/c", "s/10/a", "t/a"):
        store.put(key, io.BytesIO(b"x"))
    store.delete_prefix("s/1/")
    assert keys(store) == ["s/10/a", "t/a"]
    store.delete("s/10/a", "s/none")
    store.delete("s/10/a")
    assert keys(store) == ["t/a"]
    store.delete_prefix("t/")
    assert keys(store) == []
    for wrong in ("s", "/", "../x/"):
        with pytest.raises(ValueError):
            store.delete_prefix(wrong)


def test_keys_go_on_from_where_a_listing_ended(store):
    names = ["a/b/c", "a/b/d", "a/c", "b"]
    for key in names:
        store.put(key, io.BytesIO(b"x"))
    assert keys(store) == names
    for number, key in enumerate(names):
        assert keys(store, after=key) == names[number + 1 :]
    assert keys(store, after="a/bb") == ["a/c", "b"]
    assert list(store.keys(older_than_s=3600)) == []


@pytest.mark.parametrize("method", ["open", "size"])
def test_a_missing_object_is_named(store, method):
    with pytest.raises(ObjectMissing, match="a/b") as missing:
        getattr(store, method)("a/b")
    assert "a/b" not in missing.value.message  # clients see the message


def test_a_missing_object_cannot_be_fetched(store, tmp_path):
    with pytest.raises(ObjectMissing, match="a/b"):
        store.fetch("a/b", tmp_path / "x")
    assert list(tmp_path.glob("*x*")) == []


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "a//b", "./a", "a/", "a/.b"])
def test_keys_stay_in_the_folder(store, key):
    with pytest.raises(ValueError, match="not a key"):
        store.put(key, io.BytesIO(b"x"))


def test_a_store_that_is_there_answers(store):
    store.ping()


@pytest.mark.parametrize("url", ["ftp://host/folder", "s3://"])
def test_other_stores_are_refused(url):
    with pytest.raises(BadSetting, match="ADNERF_STORE_URL"):
        open_store(Settings(store_url=url))
