"""Use cases of verifications: requests to find out whether a video was made by this service.

The API only stores the file and writes a row; a worker, which has the keys and decodes videos in a sandbox, writes the
result (worker/provenance/verifier.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.engine import after_rollback
from storage.database.models import Verification, Video, new_id
from storage.errors import NotFound
from storage.objects.base import ObjectStore, Stored
from storage.settings import Settings
from storage.tables import quotas, uploads, verifications
from storage.tables.uploads import FileSource


@dataclass(frozen=True)
class StoredVideo:
    """A video in the object store, for the verification that will have this id."""

    verification_id: str
    source: FileSource
    stored: Stored


def store_video(store: ObjectStore, video: FileSource) -> StoredVideo:
    """Stores a video to be verified. If no verification is made of it, the cleanup of unused objects removes it.

    Raises StoreFull, EmptyFile; if `video` is an upload: ObjectMissing, ObjectDamaged.
    """
    verification_id = new_id("ver")
    return StoredVideo(verification_id, video, uploads.put_file(store, verifications.PREFIX + verification_id, video))


def submit_verification(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    video: FileSource | StoredVideo,
) -> Verification:
    """Creates the verification of a video. Call it in a new session; a video that is not stored yet is stored first.

    Raises StoreFull, QuotaExceeded; if `video` is an upload: NotFound, UploadIncomplete, UploadUsed.
    """
    video = video if isinstance(video, StoredVideo) else store_video(store, video)
    after_rollback(session, lambda: store.delete(video.stored.key), remote=True)
    uploads.consume(session, store, video.source, owner=owner, used_by=video.verification_id)
    row = verifications.create(session, video.verification_id, owner=owner, file=video.stored)
    quotas.check(session, settings, owner, "verifications")
    return row


def made_video(session: Session, row: Verification, *, owner: str) -> Video | None:
    """Returns the video that the file turned out to be; None if there is none, or it is another owner's."""
    try:
        return queries.get(session, Video, row.made_id, owner=owner) if row.made_id else None
    except NotFound:
        return None
