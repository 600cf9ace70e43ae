"""Uploads, on each kind of database and of store."""

from __future__ import annotations

import hashlib
import io
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace

import pytest
from sqlalchemy import delete, select, update

from storage import store_identity
from storage.cleanup import ObjectCleaner
from storage.database.models import Deletion, Identity, Upload, now
from storage.errors import (
    FileTooLarge,
    NotFound,
    ObjectDamaged,
    ObjectMissing,
    OffsetMismatch,
    QuotaExceeded,
    StoreFull,
    TooManyParts,
    TooManyUploads,
    UploadIncomplete,
    UploadUsed,
)
from storage.objects.base import Stored
from storage.tables import uploads
from tests.incoming import incoming
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
            part = incoming(self.store, content)
            return uploads.append(session, self.store, self.settings, upload_id, start, part, owner=owner).received

    def complete(self) -> str:
        """A complete upload of CONTENT."""
        upload_id = self.begin()
        for start, stop in pairwise(CUTS):
            assert self.append(upload_id, start, CONTENT[start:stop]) == stop
        return upload_id

    def use(self, upload_id: str, used_by: str = "sub_1", owner: str = "ann") -> None:
        with self.database.session() as session:
            upload = uploads.complete_upload(session, upload_id, owner=owner)
            uploads.consume(session, self.store, upload, owner=owner, used_by=used_by)

    def get(self, upload_id: str, owner: str = "ann") -> Upload:
        with self.database.session(write=False) as session:
            return uploads.get(session, upload_id, owner=owner)

    def find(self, upload_id: str) -> uploads.CompleteUpload:
        with self.database.session(write=False) as session:
            return uploads.complete_upload(session, upload_id, owner="ann")

    def age(self, upload_id: str) -> None:
        """Makes the upload expire."""
        with self.database.session() as session:
            past = now() - timedelta(seconds=1)
            session.execute(update(Upload).where(Upload.id == upload_id).values(expires_at=past))


@pytest.fixture
def uploader(database, store, settings):
    return Uploader(database, store, settings)


def test_the_parts_in_order_are_the_file(uploader, store):
    upload = uploader.find(uploader.complete())
    for length in (1, 399, 400, 401, 1000, 2000):
        assert uploads.read_head(store, upload, length) == CONTENT[:length]
    stored = uploads.put_file(store, "film", upload)
    assert (stored.size, stored.sha256) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    with store.open("film") as file:
        assert file.read() == CONTENT


def test_a_file_that_was_received_with_the_request_is_stored_and_not_consumed(database, store):
    file = incoming(store, CONTENT)
    with database.session() as session:
        assert uploads.put_file(store, "film", file).sha256 == hashlib.sha256(CONTENT).hexdigest()
        uploads.consume(session, store, file, owner="ann", used_by="sub_1")
    assert keys(store) == ["film"]


def test_bytes_that_do_not_follow_are_refused_and_not_kept(uploader, store):
    upload_id = uploader.begin()
    uploader.append(upload_id, 0, CONTENT[:400])
    before = keys(store)
    for start, content in ((0, CONTENT[:400]), (399, b"x"), (401, b"x"), (400, CONTENT[400:] + b"x")):
        with pytest.raises(OffsetMismatch):
            uploader.append(upload_id, start, content)
    assert keys(store) == before
    assert uploader.get(upload_id).received == 400


def test_an_upload_is_used_once_and_only_when_it_is_complete(uploader, store):
    half = uploader.begin()
    with pytest.raises(UploadIncomplete, match="0 of 1000"):
        uploader.use(half)
    upload_id = uploader.complete()
    uploader.use(upload_id)
    assert keys(store) == []
    with pytest.raises(UploadUsed, match="sub_1"):
        uploader.use(upload_id, "sub_2")
    assert uploader.get(upload_id).used_by == "sub_1"


def test_an_upload_is_copied_by_one_request_at_a_time(uploader, store, monkeypatch):
    upload = uploader.find(uploader.complete())

    def put_joined(*_):
        with pytest.raises(UploadUsed, match="at this moment"):
            uploads.put_file(store, "b", upload)
        return Stored("a", upload.size, "")

    monkeypatch.setattr(store, "put_joined", put_joined)
    for _ in range(2):
        assert uploads.put_file(store, "a", upload).key == "a"


def test_a_use_that_is_rolled_back_leaves_the_upload(uploader, database, store):
    upload_id = uploader.complete()
    upload = uploader.find(upload_id)
    before = keys(store)
    with pytest.raises(RuntimeError), database.session() as session:
        uploads.consume(session, store, upload, owner="ann", used_by="sub_1")
        raise RuntimeError
    assert keys(store) == before
    uploader.use(upload_id)


def test_the_missing_bytes_of_open_uploads_count_against_the_quota(database, store, settings):
    uploader = Uploader(database, store, settings.replace(quota_stored_bytes=2500))
    first, _ = uploader.begin(), uploader.begin()
    uploader.append(first, 0, CONTENT[:400])
    with pytest.raises(QuotaExceeded):
        uploader.begin(size=501)
    uploader.begin(size=501, owner="bob")
    uploader.age(first)  # its missing bytes will never come
    uploader.begin(size=1000)


def test_another_owner_does_not_see_it(uploader):
    upload_id = uploader.complete()
    for operation in (uploader.get, uploader.use):
        with pytest.raises(NotFound):
            operation(upload_id, owner="bob")
    with pytest.raises(NotFound):
        uploader.append(upload_id, 1000, b"x", owner="bob")


def test_many_parts_are_deleted_by_one_row(uploader, database, store, monkeypatch):
    monkeypatch.setattr(uploads, "FEW_PARTS", 3)
    upload_id = uploader.complete()
    with database.session() as session:
        uploads.remove(session, store, upload_id, owner="ann")
    assert keys(store) == []
    with database.session(write=False) as session:
        assert session.scalars(select(Deletion.prefix)).all() == [f"uploads/{upload_id}/"]


def test_a_removed_upload_leaves_nothing(uploader, database, store):
    upload_id = uploader.complete()
    with database.session() as session:
        uploads.remove(session, store, upload_id, owner="ann")
    assert keys(store) == []
    with pytest.raises(NotFound):
        uploader.get(upload_id)


def test_parts_of_an_earlier_version_are_found_and_go(uploader, database, store):
    upload_id = uploader.begin(size=2)
    key = f"uploads/{upload_id}-000000000000000-0000abcd"
    with database.session() as session:
        part = store.put(key, io.BytesIO(b"ab"))
        uploads.append(session, store, uploader.settings, upload_id, 0, part, owner="ann")
    ObjectCleaner(database, store, grace_s=FUTURE_S).run_batch()
    assert [each for each in keys(store) if each.startswith("uploads/")] == [key]
    uploader.use(upload_id)
    assert [each for each in keys(store) if each.startswith("uploads/")] == []


def test_the_number_of_parts_is_limited(uploader, store, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_PARTS", 2)
    upload_id = uploader.begin()
    uploader.append(upload_id, 0, b"a")
    uploader.append(upload_id, 1, b"b")
    with pytest.raises(TooManyParts):
        uploader.append(upload_id, 2, b"c")
    assert uploader.get(upload_id).received == 2 and len(keys(store)) == 2


def test_an_owner_can_have_a_limited_number_of_open_uploads(uploader):
    ids = [uploader.complete(), uploader.begin(), uploader.begin()]
    with pytest.raises(TooManyUploads):
        uploader.begin()
    uploader.begin(owner="bob")
    uploader.use(ids[0])
    uploader.begin()
    uploader.age(ids[1])
    uploader.begin()


def test_requests_at_the_same_time_do_not_exceed_the_number_of_open_uploads(uploader, settings):
    def try_to_begin(_):
        try:
            uploader.begin(size=1)
        except TooManyUploads:
            return 0
        return 1

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(try_to_begin, range(24))) == settings.max_open_uploads


def test_open_uploads_count_against_the_free_space(uploader, settings, monkeypatch):
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10_000))
    upload_id = uploader.begin(size=2000)  # 4000 with the joined file
    uploader.append(upload_id, 0, bytes(1000))  # which the free space of the disk shows already
    with pytest.raises(StoreFull):
        uploader.begin(size=3501)
    uploader.begin(size=3500)
    with pytest.raises(FileTooLarge):
        uploader.begin(size=settings.max_upload_bytes + 1)


def test_what_another_owner_only_announces_reserves_nothing(uploader, monkeypatch):
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=6000))
    announced = uploader.begin(size=3000, owner="mallory")
    with pytest.raises(StoreFull):
        uploader.begin(size=1, owner="mallory")
    uploader.begin(size=1000)
    uploader.append(announced, 0, bytes(100), owner="mallory")
    with pytest.raises(StoreFull):
        uploader.begin(size=1851)  # beside 2000 of her own, and thrice the bytes that have arrived
    uploader.begin(size=1850)


def test_an_upload_without_a_byte_expires_soon(uploader, settings):
    upload_id = uploader.begin()
    assert uploader.get(upload_id).expires_at <= now() + timedelta(seconds=uploads.ANNOUNCED_S)
    uploader.append(upload_id, 0, CONTENT[:1])
    assert uploader.get(upload_id).expires_at > now() + timedelta(seconds=settings.upload_idle_s - 60)


def test_an_upload_expires_after_the_last_bytes_but_not_later_than_its_total_time(uploader, settings):
    uploader.settings = settings.replace(upload_idle_s=100, upload_total_s=150)
    upload_id = uploader.begin()
    begun = uploader.get(upload_id)
    assert begun.expires_at - begun.created_at == pytest.approx(timedelta(seconds=100), abs=timedelta(seconds=5))
    uploader.settings = uploader.settings.replace(upload_idle_s=1000)
    uploader.append(upload_id, 0, b"x")
    assert uploader.get(upload_id).expires_at - begun.created_at == timedelta(seconds=150)


def test_the_cleaner_removes_expired_uploads_and_parts_that_no_row_names(uploader, database, store):
    kept, expired, used = uploader.complete(), uploader.begin(), uploader.complete()
    uploader.append(expired, 0, b"x")
    uploader.use(used)
    named = [key for key in keys(store) if key.startswith(f"uploads/{kept}/")]
    assert len(named) == len(CUTS) - 1
    store.put(f"uploads/{kept}/000000000001000-00000000", io.BytesIO(b"x"))  # its process was killed before it counted
    store.put("uploads/upl_gone/000000000000000-00000000", io.BytesIO(b"x"))
    for each in (expired, used):
        uploader.age(each)
    with pytest.raises(NotFound):
        uploader.get(expired)
    ObjectCleaner(database, store, grace_s=FUTURE_S).run_batch()
    assert [key for key in keys(store) if key.startswith("uploads/")] == named
    with pytest.raises(NotFound):
        uploader.get(used)
    uploader.use(kept)


def test_an_older_copy_of_the_database_expires_no_uploads(uploader, database, store):
    """In the older copy the upload has expired; in the right database the client has gone on since."""
    cleaner = ObjectCleaner(database, store, grace_s=FUTURE_S)
    upload_id = uploader.complete()
    parts = [key for key in keys(store) if key.startswith("uploads/")]
    cleaner.run_batch()
    uploader.age(upload_id)
    with database.session() as session:
        session.add(Deletion(prefix=parts[0], created_at=now()))
        session.execute(update(Identity).values(generation=Identity.generation - 1))
    cleaner.run_batch()
    assert cleaner.paused
    assert [key for key in keys(store) if key.startswith("uploads/")] == parts
    with database.session() as session:
        session.execute(delete(Deletion))
        uploads.keep_longer(session, keep_s=3600.0)  # as `adnerf store adopt` does
    store_identity.adopt(database, store)
    cleaner.run_batch()
    assert uploader.get(upload_id).received == len(CONTENT)
    assert [key for key in keys(store) if key.startswith("uploads/")] == parts


def test_a_part_that_is_missing_or_shorter_is_noticed(uploader, store):
    upload = uploader.find(uploader.complete())
    store.delete(upload.part_keys[1])
    with pytest.raises(ObjectMissing):
        uploads.put_file(store, "film", upload)
    store.put(upload.part_keys[1], io.BytesIO(b"short"))
    with pytest.raises(ObjectDamaged, match=upload.id):
        uploads.put_file(store, "film", upload)
