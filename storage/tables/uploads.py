"""Uploads: files that arrive piece by piece over connections that may break, to be used once.

    receiving --append--> receiving, whole --use--> used          any of them --remove, expire--> gone

The parts of an upload are objects `uploads/<upload>-<start>-<random>`. A part is stored first and counted afterwards, by one
UPDATE that names the offset from which it was sent. So what is counted is durable however a process ends, and of two that
send the same bytes at once, through whatever machines, one wins. Reading the parts one after the other is reading the file.
"""

from __future__ import annotations

import io
import secrets
import shutil
from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import BinaryIO

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.engine import after_commit, after_rollback
from storage.database.models import Upload, UploadPart, new_id, now
from storage.errors import (
    FileTooLarge,
    NotFound,
    ObjectDamaged,
    OffsetMismatch,
    StoreFull,
    TooManyUploads,
    UploadIncomplete,
    UploadUsed,
)
from storage.objects.base import CHUNK, ObjectStore
from storage.settings import Settings
from storage.tables import quotas

PREFIX = "uploads/"


def create(session: Session, settings: Settings, *, owner: str, size: int, name: str, metadata: str) -> Upload:
    """A new upload of `size` bytes; `name` is what the sender calls the file, `metadata` whatever else it said.

    Raises FileTooLarge, TooManyUploads (for one owner), QuotaExceeded, StoreFull (also where the space will not do for all that was begun).
    """
    if size > settings.max_upload_bytes:
        raise FileTooLarge(f"At most {settings.max_upload_bytes} bytes are taken.")
    mine = select(func.count()).where(Upload.owner == owner, *_open())
    if session.scalars(mine).one() >= settings.max_open_uploads:
        raise TooManyUploads(f"There are {settings.max_open_uploads} unused uploads, the most that are allowed.")
    if not settings.store_url and _promised(session) + 2 * size > shutil.disk_usage(settings.data_dir).free:
        raise StoreFull(f"There is no space for {size} bytes.")
    to_come = select(func.coalesce(func.sum(Upload.size - Upload.received), 0)).where(Upload.owner == owner, *_open())
    quotas.check_ahead(session, settings, owner, stored_bytes=size + session.scalars(to_come).one())
    upload = Upload(id=new_id("upl"), owner=owner, name=name, size=size, received=0, sent_metadata=metadata)
    upload.created_at = now()
    upload.expires_at = _end(upload, settings)
    session.add(upload)
    session.flush()
    return upload


def get(session: Session, upload_id: str, *, owner: str) -> Upload:
    """The upload. Raises NotFound, also when its time is over."""
    upload = queries.get(session, Upload, upload_id, owner=owner)
    if upload.expires_at <= now():
        raise NotFound(f"The time of upload {upload_id} is over.")
    return upload


def append(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    upload_id: str,
    start: int,
    source: BinaryIO,
    *,
    owner: str,
) -> Upload:
    """Stores all of `source`, a seekable file, as the bytes from `start` on; in a fresh session, that nobody waits for it.

    The caller sees to it that it goes no further than the upload's size. Raises OffsetMismatch, NotFound, StoreFull.
    """
    key = f"{PREFIX}{upload_id}-{start:015d}-{secrets.token_hex(4)}"
    after_rollback(session, lambda: store.delete(key))
    stored = store.put(key, source)
    upload = get(session, upload_id, owner=owner)
    counted = (
        update(Upload)
        .where(Upload.id == upload_id, Upload.received == start, Upload.size >= start + stored.size)
        .values(received=start + stored.size, expires_at=_end(upload, settings))
    )
    if session.execute(counted, execution_options={"synchronize_session": False}).rowcount == 0:
        raise OffsetMismatch(f"Bytes from {start} on were sent; there are {upload.received} already.")
    session.add(UploadPart(upload_id=upload_id, start=start, key=key))
    session.flush()
    return get(session, upload_id, owner=owner)


def complete_upload(session: Session, upload_id: str, *, owner: str) -> Upload:
    """The upload, complete and not used yet. Raises NotFound, UploadIncomplete, UploadUsed."""
    upload = get(session, upload_id, owner=owner)
    if upload.used_by is not None:
        raise UploadUsed(f"{upload.used_by} was made of upload {upload_id}.")
    if upload.received < upload.size:
        raise UploadIncomplete(f"Upload {upload_id} has {upload.received} of {upload.size} bytes.")
    return upload


def open_whole(store: ObjectStore, upload: Upload) -> BinaryIO:
    """The content of an upload that is `complete_upload`: a seekable file, which the caller closes. Reading raises ObjectMissing."""
    return io.BufferedReader(_ConcatenatedParts(store, upload.parts, upload.size), CHUNK)


def consume(session: Session, store: ObjectStore, upload_id: str, *, owner: str, used_by: str) -> None:
    """Notes what was made of an upload; its parts go with the commit. Raises NotFound, UploadIncomplete, UploadUsed."""
    upload = complete_upload(session, upload_id, owner=owner)
    mine = update(Upload).where(Upload.id == upload_id, Upload.used_by.is_(None)).values(used_by=used_by)
    if session.execute(mine, execution_options={"synchronize_session": False}).rowcount == 0:
        raise UploadUsed(f"Something else was made of upload {upload_id} at the same time.")
    _drop_parts(session, store, upload)


def remove(session: Session, store: ObjectStore, upload_id: str, *, owner: str) -> None:
    """Removes an upload and its parts; what was made of it stays. Raises NotFound."""
    upload = get(session, upload_id, owner=owner)
    _drop_parts(session, store, upload)
    session.execute(delete(Upload).where(Upload.id == upload_id))


def expire(session: Session, store: ObjectStore) -> list[str]:
    """Removes the uploads whose time is over; returns their ids."""
    over = session.scalars(select(Upload).where(Upload.expires_at <= now())).all()
    for upload in over:
        _drop_parts(session, store, upload)
        session.execute(delete(Upload).where(Upload.id == upload.id))
    return [upload.id for upload in over]


def _open():
    """The condition for uploads that can still be used."""
    return Upload.used_by.is_(None), Upload.expires_at > now()


def _promised(session: Session) -> int:
    """Bytes that the open uploads will still take: what is to come of each, and the copy that is made when it is used."""
    return session.scalars(select(func.sum(2 * Upload.size - Upload.received)).where(*_open())).one() or 0


def _end(upload: Upload, settings: Settings) -> datetime:
    """When an upload is given up of which nothing more comes from now on."""
    idle, total = timedelta(seconds=settings.upload_idle_s), timedelta(seconds=settings.upload_total_s)
    return min(now() + idle, upload.created_at + total)


def _drop_parts(session: Session, store: ObjectStore, upload: Upload) -> None:
    keys = [part.key for part in upload.parts]
    session.execute(delete(UploadPart).where(UploadPart.upload_id == upload.id))
    after_commit(session, lambda: store.delete(*keys))


class _ConcatenatedParts(io.RawIOBase):
    """Parts, in their order, as one file of `size` bytes."""

    def __init__(self, store: ObjectStore, parts: Sequence[UploadPart], size: int):
        self.store, self.size = store, size
        self.starts, self.keys = [part.start for part in parts], [part.key for part in parts]
        self.position = 0
        self.part: BinaryIO | None = None
        self.part_number = -1

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        target = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if target < 0:
            raise ValueError("before the start of the file")
        if target != self.position:
            self._let_go()
            self.position = target
        return target

    def readinto(self, buffer) -> int:
        if self.position >= self.size:
            return 0
        number = bisect_right(self.starts, self.position) - 1
        if number != self.part_number:
            self._let_go()
            self.part, self.part_number = self.store.open(self.keys[number]), number
            self.part.seek(self.position - self.starts[number])
        count = self.part.readinto(buffer)
        if count == 0:
            raise ObjectDamaged(f"Object {self.keys[number]} is shorter than it was.")
        self.position += count
        return count

    def close(self) -> None:
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self.part is not None:
            self.part.close()
        self.part, self.part_number = None, -1
