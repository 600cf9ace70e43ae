"""Uploads, on each kind of database and of store."""

from __future__ import annotations

import io
import os
import random
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from sqlalchemy import update

from storage.cleanup import ObjectCleaner
from storage.database.models import Upload, now
from storage.errors import (
    FileTooLarge,
    NotFound,
    ObjectMissing,
    OffsetMismatch,
    QuotaExceeded,
    StoreFull,
    TooManyUploads,
    UploadIncomplete,
    UploadUsed,
)
from storage.tables import uploads
from tests.storage.objects.test_objects import FUTURE_S, keys

CONTENT = random.Random(3).randbytes(1000)
CUTS = (0, 1, 400, 990, 1000)


@pytest.fixture
def settings(settings):
    settings.data_dir.mkdir()
    return settings.replace(max_open_uploads=3)


class Uploader:
    """Begins uploads and sends their parts, a transaction each."""

    def __init__(self, database, store, settings):
        self.database, self.store, self.settings = database, store, settings

    def begin(self, *, size: int = len(CONTENT), owner: str = "ann") -> str:
        with self.database.session() as session:
            return uploads.create(session, self.settings, owner=owner, size=size, name="a.mp4", metadata="").id

    def append(self, upload_id: str, start: int, content: bytes, owner: str = "ann") -> int:
        with self.database.session() as session:
            source = io.BytesIO(content)
            return uploads.append(session, self.store, self.settings, upload_id, start, source, owner=owner).received

    def whole(self) -> str:
        """A complete upload of CONTENT."""
        upload_id = self.begin()
        for start, stop in pairwise(CUTS):
            assert self.append(upload_id, start, CONTENT[start:stop]) == stop
        return upload_id

    def use(self, upload_id: str, used_by: str = "sub_1", owner: str = "ann") -> None:
        with self.database.session() as session:
            uploads.consume(session, self.store, upload_id, owner=owner, used_by=used_by)

    def get(self, upload_id: str, owner: str = "ann") -> Upload:
        with self.database.session(write=False) as session:
            return uploads.get(session, upload_id, owner=owner)

    def age(self, upload_id: str) -> None:
        """The time of the upload is over."""
        with self.database.session() as session:
            over = now() - timedelta(seconds=1)
            session.execute(update(Upload).where(Upload.id == upload_id).values(expires_at=over))


@pytest.fixture
def uploader(database, store, settings):
    return Uploader(database, store, settings)


def test_parts_one_after_the_other_are_the_file(uploader, database, store):
    upload_id = uploader.whole()
    with database.session(write=False) as session:
        file = uploads.open_whole(store, uploads.complete_upload(session, upload_id, owner="ann"))
    with file:
        assert file.read() == CONTENT
        for start in (0, 399, 400, 989, 995, 1000):
            file.seek(start)
            assert (file.tell(), file.read(20)) == (start, CONTENT[start : start + 20])
        assert file.seek(-5, os.SEEK_END) == 995
        with pytest.raises(ValueError):
            file.seek(-1)


def test_bytes_that_do_not_follow_are_refused_and_not_kept(uploader, store):
    upload_id = uploader.begin()
    uploader.append(upload_id, 0, CONTENT[:400])
    before = keys(store)
    for start, content in ((0, CONTENT[:400]), (399, b"x"), (401, b"x"), (400, CONTENT[400:] + b"x")):
        with pytest.raises(OffsetMismatch):
            uploader.append(upload_id, start, content)
    assert keys(store) == before
    assert uploader.get(upload_id).received == 400


def test_an_upload_is_used_when_it_is_whole_and_once(uploader, store):
    half = uploader.begin()
    with pytest.raises(UploadIncomplete, match="0 of 1000"):
        uploader.use(half)
    upload_id = uploader.whole()
    uploader.use(upload_id)
    assert keys(store) == []
    with pytest.raises(UploadUsed, match="sub_1"):
        uploader.use(upload_id, "sub_2")
    assert uploader.get(upload_id).used_by == "sub_1"


def test_a_use_that_comes_to_nothing_leaves_the_upload(uploader, database, store):
    upload_id = uploader.whole()
    before = keys(store)
    with pytest.raises(RuntimeError), database.session() as session:
        uploads.consume(session, store, upload_id, owner="ann", used_by="sub_1")
        raise RuntimeError
    assert keys(store) == before
    uploader.use(upload_id)


def test_what_open_uploads_will_take_counts_against_the_quota(database, store, settings):
    uploader = Uploader(database, store, settings.replace(quota_stored_bytes=2500))
    first, _ = uploader.begin(), uploader.begin()
    uploader.append(first, 0, CONTENT[:400])
    with pytest.raises(QuotaExceeded):
        uploader.begin(size=501)
    uploader.begin(size=501, owner="bob")
    uploader.age(first)  # what is missing of it will never come
    uploader.begin(size=1000)


def test_another_owner_does_not_see_it(uploader):
    upload_id = uploader.whole()
    for question in (uploader.get, uploader.use):
        with pytest.raises(NotFound):
            question(upload_id, owner="bob")
    with pytest.raises(NotFound):
        uploader.append(upload_id, 1000, b"x", owner="bob")


def test_what_is_removed_leaves_nothing(uploader, database, store):
    upload_id = uploader.whole()
    with database.session() as session:
        uploads.remove(session, store, upload_id, owner="ann")
    assert keys(store) == []
    with pytest.raises(NotFound):
        uploader.get(upload_id)


def test_an_owner_can_begin_so_many_only(uploader):
    ids = [uploader.whole(), uploader.begin(), uploader.begin()]
    with pytest.raises(TooManyUploads):
        uploader.begin()
    uploader.begin(owner="bob")
    uploader.use(ids[0])
    uploader.begin()
    uploader.age(ids[1])
    uploader.begin()


def test_what_was_begun_counts_against_the_space(uploader, settings, monkeypatch):
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000))
    upload_id = uploader.begin(size=2000)  # 4000 with the copy that is made in the end
    uploader.append(upload_id, 0, bytes(1000))  # which the disk knows of
    with pytest.raises(StoreFull):
        uploader.begin(size=3501)
    uploader.begin(size=3500)
    with pytest.raises(FileTooLarge):
        uploader.begin(size=settings.max_upload_bytes + 1)


def test_time_runs_from_the_last_bytes_but_not_for_ever(uploader, settings):
    uploader.settings = settings.replace(upload_idle_s=100, upload_total_s=150)
    upload_id = uploader.begin()
    begun = uploader.get(upload_id)
    assert begun.expires_at - begun.created_at == pytest.approx(timedelta(seconds=100), abs=timedelta(seconds=5))
    uploader.settings = uploader.settings.replace(upload_idle_s=1000)
    uploader.append(upload_id, 0, b"x")
    assert uploader.get(upload_id).expires_at - begun.created_at == timedelta(seconds=150)


def test_the_janitor_removes_what_is_over_and_parts_that_no_row_names(uploader, database, store):
    kept, over, used = uploader.whole(), uploader.begin(), uploader.whole()
    uploader.append(over, 0, b"x")
    uploader.use(used)
    named = [key for key in keys(store) if key.startswith(f"uploads/{kept}-")]
    assert len(named) == len(CUTS) - 1
    store.put(f"uploads/{kept}-000000000001000-00000000", io.BytesIO(b"x"))  # its process was killed before it counted
    store.put("uploads/upl_gone-000000000000000-00000000", io.BytesIO(b"x"))
    for each in (over, used):
        uploader.age(each)
    with pytest.raises(NotFound):
        uploader.get(over)
    ObjectCleaner(database, store, grace_s=FUTURE_S).run_batch()
    assert keys(store) == named
    with pytest.raises(NotFound):
        uploader.get(used)
    uploader.use(kept)


def test_a_part_that_is_gone_is_noticed(uploader, database, store):
    upload_id = uploader.whole()
    store.delete(keys(store)[1])
    with database.session(write=False) as session:
        file = uploads.open_whole(store, uploads.complete_upload(session, upload_id, owner="ann"))
    with file, pytest.raises(ObjectMissing):
        file.read()
