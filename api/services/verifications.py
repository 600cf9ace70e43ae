"""Use cases of verifications: requests to find out whether a video was made by this service.

The API only stores the file and writes a row; a worker, which has the keys and decodes videos in a sandbox, writes the
result (worker/provenance/verifier.py).
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.engine import after_rollback
from storage.database.models import Verification, Video, new_id
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import quotas, uploads, verifications
from storage.tables.uploads import FileSource


def submit_verification(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    video: FileSource,
) -> Verification:
    """Stores a video and creates its verification. Call it in a new session.

    Raises StoreFull, QuotaExceeded; if `video` is an upload: NotFound, UploadIncomplete, UploadUsed.
    """
    verification_id = new_id("ver")
    key = verifications.PREFIX + verification_id
    after_rollback(session, lambda: store.delete(key))
    stored = uploads.put_file(store, key, video)
    uploads.consume(session, store, video, owner=owner, used_by=verification_id)
    row = verifications.create(session, verification_id, owner=owner, file=stored)
    quotas.check(session, settings, owner, "verifications")
    return row


def made_video(session: Session, row: Verification, *, owner: str) -> Video | None:
    """Returns the video that the file turned out to be; None if there is none, or it is another owner's."""
    query = select(Video).where(Video.id == row.made_id, Video.owner == owner)
    return session.scalars(query).one_or_none() if row.made_id else None
