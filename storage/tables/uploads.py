"""Uploads: files that arrive piece by piece over connections that may break, each to be used once.

    receiving --append--> complete --consume--> used          from any of them --remove, expire--> deleted

The parts of an upload are objects `uploads/<upload>/<start>-<random>`; in earlier versions, a hyphen stood for the second slash. A
part is stored first and counted afterwards, by one UPDATE that names the offset at which it begins. So everything that is counted is
durable, however a process ends; and of two requests that send the same bytes at once, even to different machines, one succeeds. The
parts joined in order are the file.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import TypeAlias

from sqlalchemy import ColumnElement, case, delete, func, or_, select, update
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
    TooManyParts,
    TooManyUploads,
    UploadIncomplete,
    UploadUsed,
)
from storage.objects.base import IncomingFile, ObjectStore, Stored
from storage.settings import Settings
from storage.tables import deletions, idempotency, quotas

PREFIX = "uploads/"
"""The beginning of the keys of parts."""
ANNOUNCED_S = 3 * 3600.0
"""An upload no byte of which has arrived expires after this time. While the bytes of a body arrive, which count once a part is complete,
`extend` gives as much again."""
MAX_PARTS = 10_000
"""Parts of one upload. Each is an object and a row, so parts of a few bytes would cost far more than their bytes. A file of 2 GiB may
still come in parts of 210 KiB, less than a bad connection carries before it breaks."""
FEW_PARTS = 100
"""Parts that are deleted by a row each: an upload of 800 MiB in parts of 8 MiB, as the page and the client send them."""
BACKED = 3
"""An upload reserves disk space from other owners for so many times the bytes that have arrived, so that nobody can reserve without sending.
Half of a file needs three times its size: its second half, and the space in which both are joined."""


@dataclass(frozen=True)
class CompleteUpload:
    """An upload of which every byte has arrived and that is not used yet; `part_keys` are in the order of the file."""

    id: str
    name: str
    size: int
    part_keys: Sequence[str]


FileSource: TypeAlias = IncomingFile | CompleteUpload
"""A file that a request is about: received with the request itself, or uploaded before."""


def create(session: Session, settings: Settings, *, owner: str, size: int, name: str, metadata: str) -> Upload:
    """Creates an upload of `size` bytes.

    Args:
        name: The sender's name of the file.
        metadata: The header Upload-Metadata as it came.

    Raises:
        FileTooLarge: The size is beyond the largest file of any kind.
        TooManyUploads: The owner has too many unused uploads.
        QuotaExceeded: It and the missing bytes of the owner's other uploads do not fit the owner's quota.
        StoreFull: It and the owner's other unused uploads do not fit the disk, beside what others have begun to send.
    """
    if size > settings.max_upload_bytes:
        raise FileTooLarge(f"A file can have at most {settings.max_upload_bytes} bytes.")
    quotas.lock_owner(session, owner)
    time = queries.server_now(session)
    owned = select(func.count()).where(Upload.owner == owner, *_usable(time))
    if session.scalars(owned).one() >= settings.max_open_uploads:
        raise TooManyUploads(f"There are {settings.max_open_uploads} unused uploads, the most that are allowed.")
    if (
        not settings.store_url
        and _reserved_bytes(session, owner) + 2 * size > shutil.disk_usage(settings.data_dir).free
    ):
        raise StoreFull(f"There is no space for {size} bytes.")
    missing = select(func.coalesce(func.sum(Upload.size - Upload.received), 0)).where(
        Upload.owner == owner, *_usable(time)
    )
    quotas.check_ahead(session, settings, owner, stored_bytes=size + session.scalars(missing).one())
    upload = Upload(id=new_id("upl"), owner=owner, name=name, size=size, received=0, sent_metadata=metadata)
    upload.created_at = time
    upload.expires_at = _expiry(session, upload, settings, idle_s=_arriving_s(settings))
    session.add(upload)
    session.flush()
    return upload


def get(session: Session, upload_id: str, *, owner: str, for_change: bool = False) -> Upload:
    """Returns the upload; `for_change` is that of `queries.get`. Raises NotFound, also if it has expired."""
    upload = queries.get(session, Upload, upload_id, owner=owner, for_change=for_change)
    if upload.expires_at <= queries.server_now(session):
        raise NotFound(f"Upload {upload_id} has expired.")
    return upload


def store_part(store: ObjectStore, upload_id: str, start: int, part: IncomingFile) -> Stored:
    """Stores a part of an upload, for `append`. Raises StoreFull."""
    return store.put_incoming(f"{_folder(upload_id)}{start:015d}-{secrets.token_hex(4)}", part)


def append(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    upload_id: str,
    start: int,
    part: IncomingFile | Stored,
    *,
    owner: str,
) -> Upload:
    """Makes `part` the bytes of the upload from the offset `start` on, and returns the upload as it is then.

    Call it in a new session. A part that `store_part` has not stored yet is stored before the first statement.

    Raises:
        OffsetMismatch: The upload has more or fewer bytes than `start`, or `part` goes beyond its size.
        TooManyParts: The upload has MAX_PARTS parts already.
        NotFound: There is no such upload, or it has expired.
        StoreFull: There is no space.
    """
    stored = part if isinstance(part, Stored) else store_part(store, upload_id, start, part)
    key, stop = stored.key, start + stored.size
    after_rollback(session, lambda: store.delete(key), remote=True)
    upload = get(session, upload_id, owner=owner)
    parts = select(func.count()).select_from(UploadPart).where(UploadPart.upload_id == upload_id)
    if session.scalars(parts).one() >= MAX_PARTS:
        raise TooManyParts(f"Upload {upload_id} has {MAX_PARTS} parts, the most that are allowed.")
    counted = (
        update(Upload)
        .where(Upload.id == upload_id, Upload.received == start, Upload.size >= stop)
        .values(received=stop, expires_at=_expiry(session, upload, settings, idle_s=settings.upload_idle_s))
    )
    if queries.execute_update(session, counted) == 0:
        raise OffsetMismatch(f"The body starts at byte {start}, but the upload continues at byte {upload.received}.")
    session.add(UploadPart(upload_id=upload_id, start=start, key=key))
    session.flush()
    return get(session, upload_id, owner=owner)


def expires_soon(upload: Upload, settings: Settings, *, arriving_s: float, extended: bool) -> bool:
    """Returns whether `extend` gives much more time to an upload whose bytes are arriving: it is to be called now and then.

    Args:
        upload: to which they belong.
        settings: say how long an upload is kept.
        arriving_s: seconds since the bytes began or, if it was `extended` since, since then.
        extended: then `arriving_s` alone decides: by this machine's clock, which may be ahead, it would always be time.
    """
    idle_s = _arriving_s(settings)
    until = min(now() + timedelta(seconds=idle_s), upload.created_at + timedelta(seconds=settings.upload_total_s))
    due = not extended and until - upload.expires_at > timedelta(seconds=idle_s / 2)
    return due or arriving_s > idle_s / 2


def extend(session: Session, settings: Settings, upload_id: str, *, owner: str) -> Upload:
    """Gives more time to an upload whose bytes are arriving and do not count yet. Raises NotFound, also if it has expired."""
    upload = get(session, upload_id, owner=owner)
    until = _expiry(session, upload, settings, idle_s=_arriving_s(settings))
    later = update(Upload).where(Upload.id == upload_id, Upload.expires_at < until).values(expires_at=until)
    queries.execute_update(session, later)
    return get(session, upload_id, owner=owner)


def complete_upload(session: Session, upload_id: str, *, owner: str) -> CompleteUpload:
    """Returns an upload that can be used. Raises NotFound, UploadIncomplete, UploadUsed."""
    upload = get(session, upload_id, owner=owner)
    if upload.used_by is not None:
        raise UploadUsed(f"{upload.used_by} was made of upload {upload_id}.")
    if upload.received < upload.size:
        raise UploadIncomplete(f"Upload {upload_id} has {upload.received} of {upload.size} bytes.")
    return CompleteUpload(upload.id, upload.name, upload.size, [part.key for part in upload.parts])


def read_head(store: ObjectStore, upload: CompleteUpload, length: int) -> bytes:
    """Returns the first `length` bytes of the upload, or all if it has fewer. Raises ObjectMissing, ObjectDamaged."""
    head = b""
    for key in upload.part_keys:
        if len(head) == length:
            break
        with store.open(key) as part:
            head += part.read(length - len(head))
    return head


def put_file(store: ObjectStore, key: str, file: FileSource) -> Stored:
    """Stores a received file, or a complete upload, as the object `key`. An upload's parts stay until it is consumed.

    Raises:
        EmptyFile: The file has no bytes.
        StoreFull: There is no space.
        UploadUsed: Another request of this process makes something of the upload now.
        ObjectMissing: A part of the upload does not exist any more: the upload was used or deleted meanwhile.
        ObjectDamaged: A part of the upload has changed.
    """
    if isinstance(file, IncomingFile):
        return store.put_incoming(key, file)
    with _one_copy(file.id):
        stored = store.put_joined(key, file.part_keys)
    if stored.size != file.size:
        raise ObjectDamaged(f"The parts of upload {file.id} have {stored.size} bytes, of {file.size}.")
    return stored


@contextmanager
def _one_copy(upload_id: str) -> Iterator[None]:
    """Only one request at a time copies an upload in the block: one of them can use it, and all copies together might fill the disk."""
    with _copying_lock:
        if upload_id in _copying:
            message = f"Another request uses upload {upload_id} at this moment."
            raise UploadUsed(message, "Wait for its answer; if it is refused, send this request again.")
        _copying.add(upload_id)
    try:
        yield
    finally:
        _copying.discard(upload_id)


_copying: set[str] = set()
_copying_lock = Lock()


def consume(session: Session, store: ObjectStore, file: FileSource, *, owner: str, used_by: str) -> None:
    """Marks an upload as used by the subject, video or verification `used_by`, and deletes its parts after the commit.

    For a file that was received with the request there is nothing to do. Raises NotFound, UploadIncomplete, UploadUsed.
    """
    if isinstance(file, IncomingFile):
        return
    complete_upload(session, file.id, owner=owner)
    unused = (
        update(Upload).where(Upload.id == file.id, Upload.used_by.is_(None)).values(used_by=used_by, sent_metadata="")
    )
    if queries.execute_update(session, unused) == 0:
        raise UploadUsed(f"Another request used upload {file.id} at the same time.")
    _delete_parts(session, store, file.id)


def forget_used(session: Session, *made: str, owner: str) -> None:
    """Deletes the rows of the uploads that subjects or videos, which are being deleted, were made of: they have the names of the files."""
    used = delete(Upload).where(Upload.owner == owner, Upload.used_by.in_(made)).returning(Upload.id)
    ids = session.scalars(used, execution_options={"synchronize_session": False}).all()
    idempotency.erase_naming(session, *ids, owner=owner)


def remove(session: Session, store: ObjectStore, upload_id: str, *, owner: str) -> None:
    """Deletes an upload and its parts; what was made of it stays. Raises NotFound."""
    get(session, upload_id, owner=owner)
    _delete_parts(session, store, upload_id)
    session.execute(delete(Upload).where(Upload.id == upload_id))
    idempotency.erase_naming(session, upload_id, owner=owner)


def keep_longer(session: Session, *, keep_s: float) -> None:
    """Keeps all uploads for at least `keep_s` seconds from now, as after a backup was restored: their time ran on meanwhile."""
    until = queries.server_now(session) + timedelta(seconds=keep_s)
    queries.execute_update(session, update(Upload).where(Upload.expires_at < until).values(expires_at=until))


def expire(session: Session, store: ObjectStore) -> list[str]:
    """Deletes the uploads that have expired, with their parts, and returns their ids.

    One to which bytes are being added at this moment stays.
    """
    due = select(Upload.id).where(Upload.expires_at <= queries.server_now(session)).with_for_update(skip_locked=True)
    expired = list(session.scalars(due))
    for upload_id in expired:
        _delete_parts(session, store, upload_id)
        session.execute(delete(Upload).where(Upload.id == upload_id))
    return expired


def _usable(time: datetime) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The conditions for uploads that can still be used at a time of the database server's clock, by which alone they expire."""
    return Upload.used_by.is_(None), Upload.expires_at > time


def _reserved_bytes(session: Session, owner: str) -> int:
    """Bytes of the disk that an owner cannot have: what the usable uploads will still take (their missing bytes, and the joined file of
    each), of other owners only as far as it is BACKED.
    """
    needed, backed = 2 * Upload.size - Upload.received, BACKED * Upload.received
    reserved = case((or_(Upload.owner == owner, needed < backed), needed), else_=backed)
    return session.scalars(select(func.sum(reserved)).where(*_usable(queries.server_now(session)))).one() or 0


def _arriving_s(settings: Settings) -> float:
    """Time after which an upload expires none of whose bytes arrive, or count."""
    return min(ANNOUNCED_S, settings.upload_idle_s)


def _expiry(session: Session, upload: Upload, settings: Settings, *, idle_s: float) -> datetime:
    """The time at which the upload expires if no more bytes of it arrive in the next `idle_s` seconds."""
    idle, total = timedelta(seconds=idle_s), timedelta(seconds=settings.upload_total_s)
    return min(queries.server_now(session) + idle, upload.created_at + total)


def _delete_parts(session: Session, store: ObjectStore, upload_id: str) -> None:
    """Deletes the rows of the upload's parts, and after the commit their objects.

    Few are deleted one by one: the deletion of a folder is repeated for an hour, and an owner may delete many uploads.
    """
    gone = delete(UploadPart).where(UploadPart.upload_id == upload_id).returning(UploadPart.key)
    keys = session.scalars(gone, execution_options={"synchronize_session": False}).all()
    folder = _folder(upload_id)
    if len(keys) > FEW_PARTS:
        deletions.request(session, store, folder)
        keys = [key for key in keys if not key.startswith(folder)]
    else:
        # This removes the folder itself as well, in a store that has folders.
        after_commit(session, lambda: store.delete_prefix(folder), remote=True)
    deletions.request_objects(session, store, keys)


def _folder(upload_id: str) -> str:
    return f"{PREFIX}{upload_id}/"
