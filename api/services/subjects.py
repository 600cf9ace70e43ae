"""Use cases of subjects, called by the HTTP routes.

All services follow these rules. They know nothing of HTTP and load no torch. A function works inside the caller's
transaction (Database.session): its changes become durable, and files are deleted, when that commits. Rows of other owners
are treated as if they did not exist. The `submit_` functions store files before their first statement, so that no other
writer waits while a large file is stored; call them in a new session. An API process has few turns for writers, so routes call the
`store_` functions first, outside a turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from adnerf_core.config import FaceChoice, PresetName
from api.services.consent_clips import StoredClip, store_clip
from storage.database import queries
from storage.database.engine import after_rollback
from storage.database.models import Subject, new_id, now
from storage.errors import (
    NotFound,
    PreviewNotReady,
    ReportNotReady,
    StorageError,
    StoreAway,
    SubjectNotReady,
    ViewsNotReady,
)
from storage.objects.base import ObjectStore, Stored
from storage.settings import Settings
from storage.tables import consents, jobs, quotas, removals, uploads
from storage.tables.uploads import FileSource

ABSENT: dict[str, tuple[type[StorageError], str]] = {
    "preview_key": (PreviewNotReady, "preview"),
    "thumbnail_key": (NotFound, "thumbnail"),
    "report_key": (ReportNotReady, "report"),
    "views_key": (ViewsNotReady, "view sheet"),
}
"""By column of a file of a subject: the error while it is absent, and what people call it."""


@dataclass(frozen=True)
class StoredFootage:
    """A reference video in the object store, for the subject that will have this id, and the clip of its spoken consent if there is one."""

    subject_id: str
    source: FileSource
    stored: Stored
    clip: StoredClip | None = None


def store_footage(store: ObjectStore, video: FileSource, clip: FileSource | None = None) -> StoredFootage:
    """Stores a reference video, and the clip of the spoken consent. If no subject is made of them, the cleanup of unused objects removes them.

    Raises ConsentClipRefused, StoreFull, EmptyFile; if one of them is an upload: ObjectMissing, ObjectDamaged.
    """
    subject_id = new_id("sub")
    with removed_on_error(store, folder(subject_id)):
        stored_clip = clip and store_clip(store, folder(subject_id), clip)  # first: it may be refused
        stored = uploads.put_file(store, folder(subject_id) + "source", video)
        return StoredFootage(subject_id, video, stored, stored_clip)


@contextmanager
def removed_on_error(store: ObjectStore, folder: str) -> Iterator[None]:
    """Removes everything below `folder` if the block fails."""
    try:
        yield
    except BaseException:
        with suppress(StoreAway):  # the cleanup of unused objects removes it later
            store.delete_prefix(folder)
        raise


def folder(subject_id: str) -> str:
    """Returns the prefix of all objects of a subject."""
    return f"subjects/{subject_id}/"


def submit_subject(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    name: str,
    preset: PresetName,
    audio_track: int | None = None,
    consent: str,
    consent_by: str | None = None,
    may_improve_others: bool = False,
    face: FaceChoice | None = None,
    video: FileSource | StoredFootage,
) -> Subject:
    """Creates a subject from its reference video, and the job that preprocesses it. Call it in a new session.

    Raises StoreFull, QuotaExceeded; if `video` is an upload: NotFound, UploadIncomplete, UploadUsed.
    """
    footage = video if isinstance(video, StoredFootage) else store_footage(store, video)
    subject_id, source, clip = footage.subject_id, footage.stored, footage.clip
    after_rollback(session, lambda: store.delete_prefix(folder(subject_id)), remote=True)
    subject = Subject(
        id=subject_id,
        owner=owner,
        name=name,
        state="pending",
        preset=preset,
        audio_track=audio_track,
        consent=consent,
        consent_by=consent_by,
        may_improve_others=may_improve_others,
        face=face and face.model_dump(),
        footage_sha256=source.sha256,
        source_key=source.key,
        consent_clip_key=clip and clip.stored.key,
        consent_clip_sha256=clip and clip.stored.sha256,
        stored_bytes=source.size + (clip.stored.size if clip else 0),
    )
    session.add(subject)
    session.flush()
    for sent in filter(None, (footage.source, clip and clip.source)):
        uploads.consume(session, store, sent, owner=owner, used_by=subject_id)
    jobs.create(session, "preprocess", owner=owner, subject_id=subject_id)
    quotas.check(session, settings, owner, "subjects", "queued_jobs", "stored_bytes")
    return subject


def viewable_subject(session: Session, subject_id: str, *, owner: str) -> Subject:
    """Returns a subject of which pictures may be shown. Raises NotFound, ConsentWithdrawn."""
    subject = queries.get(session, Subject, subject_id, owner=owner)
    consents.check(subject)
    return subject


def ready_subject(session: Session, subject_id: str, *, owner: str, lock: bool = False) -> Subject:
    """Returns a subject of which videos can be made; with `lock`, it is locked until the transaction ends.

    Raises NotFound, ConsentWithdrawn, InTrash, SubjectNotReady.
    """
    subject = queries.get(session, Subject, subject_id, owner=owner, lock=lock)
    consents.check(subject)
    removals.check(subject)
    if subject.state != "ready":
        raise SubjectNotReady(f"Subject {subject_id} is {subject.state}.")
    return subject


def change_subject(
    session: Session, subject_id: str, *, owner: str, name: str | None = None, may_improve_others: bool | None = None
) -> Subject:
    """Gives the subject another name, or allows or forbids that priors of lips are learnt from it; None changes nothing.

    What was learnt with a subject that forbids it is not used from this transaction on (storage/tables/lip_priors.py).
    Raises NotFound; ConsentWithdrawn: it is allowed after a withdrawal.
    """
    subject = queries.get(session, Subject, subject_id, owner=owner)
    if name is not None:
        subject.name, subject.updated_at = name, now()
    if may_improve_others is not None and may_improve_others != subject.may_improve_others:
        if may_improve_others:
            consents.check(subject)
        subject.may_improve_others, subject.may_improve_others_at = may_improve_others, now()
        subject.updated_at = now()
    session.flush()
    return queries.get(session, Subject, subject_id, owner=owner)


def delete_subject(session: Session, store: ObjectStore, subject_id: str, *, owner: str) -> bool:
    """Deletes the subject, its videos, its jobs (a worker that runs one stops) and all their files.

    Returns whether rows are left that nobody finds any more, for `continue_deletion`. Raises NotFound.
    """
    return removals.delete_subject(session, store, queries.get(session, Subject, subject_id, owner=owner))


def continue_deletion(session: Session, subject_id: str) -> bool:
    """Deletes more rows of a deleted subject, in a new session; returns whether some are left. The sweep does it otherwise."""
    return removals.continue_deletion(session, subject_id)


def trash_subject(session: Session, settings: Settings, subject_id: str, *, owner: str) -> Subject:
    """Moves the subject and its videos to the trash. Their running jobs are cancelled, queued ones wait. Raises NotFound."""
    removals.trash(session, queries.get(session, Subject, subject_id, owner=owner), keep_s=settings.undo_s)
    return queries.get(session, Subject, subject_id, owner=owner)


def restore_subject(session: Session, subject_id: str, *, owner: str) -> Subject:
    """Takes the subject, with the videos that went with it, out of the trash. Raises NotFound."""
    removals.restore(session, queries.get(session, Subject, subject_id, owner=owner))
    return queries.get(session, Subject, subject_id, owner=owner)


def subject_part(session: Session, subject_id: str, column: str, *, owner: str) -> str:
    """Returns the key of a file that belongs to a subject; a newer file has another key.

    Args:
        subject_id: of the subject.
        column: `source_key` (the reference video as it was sent), or one of ABSENT.
        owner: of the subject.

    Raises NotFound, ConsentWithdrawn, and, while there is no such file yet, the error of ABSENT.
    """
    key = getattr(viewable_subject(session, subject_id, owner=owner), column)
    if key is None:
        error, name = ABSENT[column]
        raise error(f"Subject {subject_id} has no {name} yet.")
    return key
