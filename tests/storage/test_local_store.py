"""LocalStore: whole or not at all, and no way out of its folder."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import threading
import time

import pytest

from storage.errors import EmptyFile, FileTooLarge, ObjectMissing, StoreFull
from storage.local_store import LocalStore
from storage.objects import CHUNK

PAYLOAD = bytes(range(256)) * (CHUNK // 100)


def files(store):
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_what_was_put_comes_back(store):
    stored = store.put("a/b", io.BytesIO(PAYLOAD))
    assert (stored.key, stored.size, stored.sha256) == ("a/b", len(PAYLOAD), hashlib.sha256(PAYLOAD).hexdigest())
    with store.open("a/b") as file:
        assert file.read() == PAYLOAD
        file.seek(1000)
        assert file.read(5) == PAYLOAD[1000:1005]
    assert store.size("a/b") == len(PAYLOAD)
    assert store.exists("a/b") and not store.exists("a")


class Broken(io.RawIOBase):
    """A sender who goes away after the first chunk."""

    def __init__(self):
        self.chunks = [b"x" * CHUNK]

    def read(self, size=-1):
        if not self.chunks:
            raise ConnectionError("gone")
        return self.chunks.pop()


@pytest.mark.parametrize(
    ("source", "limit", "error"),
    [
        (io.BytesIO, None, EmptyFile),
        (lambda: io.BytesIO(b"12345"), 4, FileTooLarge),
        (Broken, None, ConnectionError),
    ],
)
def test_what_fails_leaves_nothing_and_keeps_what_was_there(store, source, limit, error):
    store.put("a/old", io.BytesIO(b"old"))
    for key in ("a/new", "a/old"):
        with pytest.raises(error):
            store.put(key, source(), limit=limit)
    assert files(store) == ["a/old"]
    with store.open("a/old") as file:
        assert file.read() == b"old"


def test_exactly_the_limit_is_taken(store):
    assert store.put("a", io.BytesIO(b"12345"), limit=5).size == 5


def test_nobody_sees_half_an_object(store):
    halfway, seen = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                halfway.set()
                seen.wait(10)
            return super().read(size)

    writer = threading.Thread(target=store.put, args=("a", Slow(PAYLOAD)))
    writer.start()
    halfway.wait(10)
    assert not store.exists("a")
    seen.set()
    writer.join()
    assert store.size("a") == len(PAYLOAD)


def test_a_fetched_object_is_the_object(store, tmp_path):
    store.put("a", io.BytesIO(PAYLOAD))
    path = tmp_path / "there" / "b"
    for _ in range(2):
        store.fetch("a", path)
        assert path.read_bytes() == PAYLOAD
    path.unlink()
    assert store.exists("a")


def test_fetching_works_where_links_do_not(store, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "another device")

    store.put("a", io.BytesIO(PAYLOAD))
    monkeypatch.setattr("os.link", refuse)
    store.fetch("a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == PAYLOAD


def test_deleting(store):
    for key in ("s/1/a", "s/1/b/c", "s/10/a"):
        store.put(key, io.BytesIO(b"x"))
    store.delete_prefix("s/1/")
    assert files(store) == ["s/10/a"]
    store.delete("s/10/a")
    store.delete("s/10/a")
    store.delete_prefix("s/")
    assert files(store) == []
    with pytest.raises(ValueError, match="slash"):
        store.delete_prefix("s")


@pytest.mark.parametrize("method", ["open", "size"])
def test_a_missing_object_is_named(store, method):
    with pytest.raises(ObjectMissing, match="a/b"):
        getattr(store, method)("a/b")


def test_a_missing_object_cannot_be_fetched(store, tmp_path):
    with pytest.raises(ObjectMissing, match="a/b"):
        store.fetch("a/b", tmp_path / "x")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "a/../../b", "a//b", "./a", "a/"])
def test_keys_stay_in_the_folder(store, key):
    with pytest.raises(ValueError, match="not a key"):
        store.put(key, io.BytesIO(b"x"))


def test_a_full_disk_is_named_and_leaves_nothing(small_disk):
    store = LocalStore(small_disk)
    store.put("small", io.BytesIO(b"x"))
    with pytest.raises(StoreFull):
        store.put("large", io.BytesIO(b"x" * (4 << 20)))
    assert files(store) == ["small"]
    store.put("again", io.BytesIO(b"x" * 1000))


def test_a_process_killed_while_it_writes_leaves_no_object(store):
    program = (
        "import io, os, signal, sys; from pathlib import Path; from storage.local_store import LocalStore\n"
        "class Killing(io.BytesIO):\n"
        "    def read(self, size=-1):\n"
        "        if self.tell(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().read(100)\n"
        "LocalStore(Path(sys.argv[1])).put('a', Killing(b'x' * 1000))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(store.root)], timeout=60)
    assert ended.returncode == -9
    assert not store.exists("a")
    store.put("a", io.BytesIO(b"whole"))
    assert store.size("a") == 5


def test_old_objects_are_listed(store):
    store.put("a/old", io.BytesIO(b"x"))
    store.put("a/new", io.BytesIO(b"x"))
    os.utime(store.root / "a" / "old", (0, time.time() - 100))
    assert list(store.keys(older_than_s=50)) == ["a/old"]
    assert sorted(store.keys(older_than_s=0)) == ["a/new", "a/old"]
