"""Verifying: was this file made here? The use cases, for the API.

It has neither the keys nor the libraries, and does not look into strangers' videos: it stores the file and writes a row,
which a worker answers (worker/provenance/verifier.py).
"""

from __future__ import annotations

from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.engine import after_rollback
from storage.database.models import Verification, Video, new_id
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import quotas, uploads, verifications


def submit_verification(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    video: BinaryIO,
    upload_id: str | None = None,
) -> Verification:
    """A new verification of `video`, a file open for reading. Call it in a fresh session.

    `upload_id` is the upload whose content `video` is; it is used up.
    Raises EmptyFile, FileTooLarge, StoreFull, QuotaExceeded; NotFound, UploadIncomplete, UploadUsed.
    """
    verification_id = new_id("ver")
    key = verifications.PREFIX + verification_id
    after_rollback(session, lambda: store.delete(key))
    stored = store.put(key, video, limit=settings.max_video_bytes)
    if upload_id is not None:
        uploads.consume(session, store, upload_id, owner=owner, used_by=verification_id)
    row = verifications.create(session, verification_id, owner=owner, file=stored)
    quotas.check(session, settings, owner, "verifications")
    return row


def made_video(session: Session, row: Verification, *, owner: str) -> Video | None:
    """The video that the file was found to be, where it is this owner's."""
    query = select(Video).where(Video.id == row.made_id, Video.owner == owner)
    return session.scalars(query).one_or_none() if row.made_id else None
