"""LocalStore: the properties of files in a folder."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import delete

from storage.database.engine import Database
from storage.database.models import Base, Usage
from storage.errors import StoreAway, StoreFull
from storage.objects import base
from storage.objects.local import LocalStore
from tests.storage.objects.test_objects import PAYLOAD


@pytest.fixture
def store(settings):
    return LocalStore(settings.objects)


def files(store):
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_half_an_object_is_not_visible(store):
    halfway, checked = threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                halfway.set()
                checked.wait(10)
            return super().read(size)

    writer = threading.Thread(target=store.put, args=("a", Slow(PAYLOAD)))
    writer.start()
    halfway.wait(10)
    assert not store.exists("a")
    assert list(store.keys(older_than_s=0)) == []
    checked.set()
    writer.join()
    assert store.size("a") == len(PAYLOAD)


def test_fetching_works_where_links_do_not(store, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(18, "another device")

    store.put("a", io.BytesIO(PAYLOAD))
    monkeypatch.setattr("os.link", refuse)
    store.fetch("a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == PAYLOAD


def test_new_folders_are_durable_up_to_the_one_that_was_there(store, synced):
    store.put("a/b/c", io.BytesIO(PAYLOAD))
    folders = store.root.parent.parent, store.root.parent, store.root, store.root / "a", store.root / "a" / "b"
    assert set(folders) <= set(synced)
    del synced[:]
    store.move("a/b/c", "trash/today/c")
    assert {store.root, store.root / "trash", store.root / "trash" / "today"} <= set(synced)


def test_a_fetched_copy_on_another_disk_is_whole_and_durable_or_not_there(store, small_disk, synced):
    store.put("small", io.BytesIO(PAYLOAD))
    store.put("large", io.BytesIO(bytes(4 << 20)))
    with pytest.raises(StoreFull):
        store.fetch("large", small_disk / "copy")
    assert not list(small_disk.iterdir())
    del synced[:]
    store.fetch("small", small_disk / "new" / "copy")
    temporary, (source, target), folder = synced
    assert temporary == source and target == small_disk / "new" / "copy" and folder == target.parent
    assert target.read_bytes() == PAYLOAD


def test_a_received_file_is_renamed_and_not_copied(store):
    with store.create_incoming() as incoming:
        incoming.write(PAYLOAD)
        inode = os.fstat(incoming.file.fileno()).st_ino
        store.put_incoming("a/b", incoming)
    assert (store.root / "a" / "b").stat().st_ino == inode
    assert files(store) == ["a/b"]


def test_a_received_file_is_copied_where_renaming_does_not_work(store, monkeypatch):
    replace = os.replace

    def refuse(source, target):
        if source.parent != target.parent:
            raise OSError(18, "another device")
        replace(source, target)

    monkeypatch.setattr("os.replace", refuse)
    with store.create_incoming() as incoming:
        incoming.write(PAYLOAD)
        store.put_incoming("a/b", incoming)
    assert (store.root / "a" / "b").read_bytes() == PAYLOAD
    assert files(store) == ["a/b"]


def test_a_full_disk_is_named_and_leaves_nothing(small_disk):
    store = LocalStore(small_disk)
    store.put("small", io.BytesIO(b"x"))
    with pytest.raises(StoreFull):
        store.put("large", io.BytesIO(b"x" * (4 << 20)))
    with store.create_incoming() as incoming, pytest.raises(StoreFull):
        incoming.write(b"x" * (4 << 20))
    assert files(store) == ["small"]
    store.put("again", io.BytesIO(b"x" * 1000))


def test_files_leave_the_space_in_which_the_database_deletes(small_disk, monkeypatch):
    monkeypatch.setattr(base, "RESERVE_SHARE", 0.1)
    with closing(Database(f"sqlite:///{small_disk}/a.db")) as database:
        Base.metadata.create_all(database.engine)
        with database.session() as session:
            session.add(Usage(owner="ann", day="2026-01-01", seconds=1.0))
    with LocalStore(small_disk / "objects").create_incoming() as incoming:
        with pytest.raises(StoreFull):
            while True:
                incoming.write(bytes(10_000))
        with closing(Database(f"sqlite:///{small_disk}/a.db")) as database, database.session() as session:
            assert session.execute(delete(Usage)).rowcount == 1


def test_a_file_system_that_tells_no_size_is_not_full(store, monkeypatch):
    monkeypatch.setattr(os, "fstatvfs", lambda _: os.statvfs_result((4096,) * 2 + (0,) * 8))
    assert store.put("a", io.BytesIO(PAYLOAD)).size == len(PAYLOAD)


def test_a_file_of_a_killed_process_is_no_object_and_is_deleted_later(store):
    program = (
        "import io, os, signal, sys; from pathlib import Path; from storage.objects.local import LocalStore\n"
        "class Killing(io.BytesIO):\n"
        "    def read(self, size=-1):\n"
        "        if self.tell(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "        return super().read(100)\n"
        "LocalStore(Path(sys.argv[1])).put('s/a', Killing(b'x' * 1000))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(store.root)], timeout=60)
    assert ended.returncode == -9
    assert not store.exists("s/a")
    assert len(files(store)) == 1
    assert store.delete_unfinished(older_than_s=60) == 0
    assert store.delete_unfinished(older_than_s=0) == 1
    assert files(store) == []
    store.put("s/a", io.BytesIO(b"whole"))
    assert store.size("s/a") == 5


def test_old_objects_are_listed(store):
    store.put("a/old", io.BytesIO(b"x"))
    store.put("a/new", io.BytesIO(b"x"))
    os.utime(store.root / "a" / "old", (0, time.time() - 100))
    assert list(store.keys(older_than_s=50)) == ["a/old"]
    assert sorted(store.keys(older_than_s=0)) == ["a/new", "a/old"]


def test_a_folder_has_no_links(store):
    store.put("a", io.BytesIO(b"x"))
    assert store.link("a", name="a.mp4", media_type="video/mp4") is None


def test_a_folder_that_cannot_be_created_is_away(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreAway, match="Not a directory"):
        LocalStore(tmp_path / "file" / "objects").ping()


def test_the_age_of_a_moved_object_begins_anew(tmp_path):
    store = LocalStore(tmp_path)
    store.put("a", io.BytesIO(b"x"))
    os.utime(tmp_path / "a", (0, 0))
    store.move("a", "b")
    assert list(store.keys(older_than_s=60)) == []
    assert list(store.keys(older_than_s=0)) == ["b"]


def test_a_file_that_arrives_slowly_is_not_deleted(tmp_path):
    store = LocalStore(tmp_path)
    with store.create_incoming() as incoming:
        os.utime(incoming.path, (0, 0))
        assert store.delete_unfinished(older_than_s=3600) == 0
        assert incoming.path.exists()
    left = tmp_path / ".incoming-left"
    left.touch()
    os.utime(left, (0, 0))
    assert store.delete_unfinished(older_than_s=3600) == 1
    assert not left.exists()
