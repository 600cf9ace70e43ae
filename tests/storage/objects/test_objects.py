"""What every object store can do: whole or not at all, and no way out of its folder."""

from __future__ import annotations

import hashlib
import io

import pytest

from storage.errors import BadSetting, EmptyFile, FileTooLarge, ObjectMissing
from storage.objects.base import CHUNK
from storage.objects.open_store import open_store
from storage.settings import Settings

PAYLOAD = bytes(range(256)) * (CHUNK // 100)
FUTURE_S = -3600.0
"""As an age: everything, whatever the store's clock says."""


def keys(store, **more):
    return list(store.keys(older_than_s=FUTURE_S, **more))


def test_what_was_put_comes_back(store):
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


def test_putting_begins_where_the_file_stands(store):
    source = io.BytesIO(b"head and body")
    source.seek(5)
    assert store.put("a", source).size == 8
    with store.open("a") as file:
        assert file.read() == b"and body"


class Broken(io.BytesIO):
    """A sender who goes away after the first chunk."""

    def read(self, size=-1):
        if self.tell() > 0:
            raise ConnectionError("gone")
        return super().read(CHUNK)


@pytest.mark.parametrize(
    ("source", "limit", "error"),
    [
        (io.BytesIO, None, EmptyFile),
        (lambda: io.BytesIO(b"12345"), 4, FileTooLarge),
        (lambda: Broken(PAYLOAD), None, ConnectionError),
    ],
)
def test_what_fails_leaves_nothing_and_keeps_what_was_there(store, source, limit, error):
    store.put("a/old", io.BytesIO(b"old"))
    for key in ("a/new", "a/old"):
        with pytest.raises(error):
            store.put(key, source(), limit=limit)
    assert keys(store) == ["a/old"]
    assert store.drop_unfinished(older_than_s=FUTURE_S) == 0
    with store.open("a/old") as file:
        assert file.read() == b"old"


def test_exactly_the_limit_is_taken(store):
    assert store.put("a", io.BytesIO(b"12345"), limit=5).size == 5


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
    with pytest.raises(ObjectMissing, match="a/b"):
        getattr(store, method)("a/b")


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
