"""Use cases of videos."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete
from sqlalchemy.orm import Session

from adnerf_core.config import MARK_BITS, RenderOptions
from api.services.subjects import ready_subject, removed_on_error, viewable_subject
from storage.database import queries
from storage.database.engine import after_rollback
from storage.database.models import Job, Video, new_id
from storage.errors import VideoNotReady
from storage.objects.base import ObjectStore, Stored
from storage.settings import Settings
from storage.tables import deletions, idempotency, jobs, quotas, uploads
from storage.tables.uploads import FileSource


@dataclass(frozen=True)
class StoredSpeech:
    """The files of a video in the object store, for the video that will have this id."""

    video_id: str
    source: FileSource
    audio: Stored
    background: Stored | None


def store_speech(
    store: ObjectStore, subject_id: str, audio: FileSource, background: FileSource | None = None
) -> StoredSpeech:
    """Stores the files of a video. If no video is made of them, the cleanup of unused objects removes them.

    Args:
        store: where to.
        subject_id: of a subject that `ready_subject` has found: the files are stored below its id.
        audio: the speech.
        background: the picture for background kind `image`.

    Raises StoreFull, EmptyFile; if `audio` is an upload: ObjectMissing, ObjectDamaged.
    """
    video_id = new_id("vid")
    folder = _folder(subject_id, video_id)
    with removed_on_error(store, folder):
        stored = uploads.put_file(store, folder + "audio", audio)
        picture = uploads.put_file(store, folder + "background", background) if background is not None else None
    return StoredSpeech(video_id, audio, stored, picture)


def _folder(subject_id: str, video_id: str) -> str:
    return f"subjects/{subject_id}/videos/{video_id}/"


def submit_video(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    subject_id: str,
    options: RenderOptions,
    audio: FileSource | StoredSpeech,
    background: FileSource | None = None,
) -> Video:
    """Creates a video of a ready subject speaking `audio`, and the job that renders it. Call it in a new session.

    Args:
        subject_id: The files are stored below this id before it is checked here, so the caller must have found it by
            `ready_subject` already.
        audio: The speech, or all files of the video, stored already.
        background: The picture for background kind `image`.

    Raises NotFound, ConsentWithdrawn, SubjectNotReady, StoreFull, QuotaExceeded; if `audio` is an upload also
    UploadIncomplete, UploadUsed.
    """
    speech = audio if isinstance(audio, StoredSpeech) else store_speech(store, subject_id, audio, background)
    video_id = speech.video_id
    after_rollback(session, lambda: store.delete_prefix(_folder(subject_id, video_id)))
    ready_subject(session, subject_id, owner=owner, lock=True)
    video = Video(
        id=video_id,
        owner=owner,
        subject_id=subject_id,
        state="pending",
        options=options.model_dump(mode="json"),
        audio_key=speech.audio.key,
        background_key=speech.background.key if speech.background is not None else None,
        stored_bytes=sum(each.size for each in (speech.audio, speech.background) if each is not None),
        mark=secrets.randbits(MARK_BITS),
    )
    session.add(video)
    session.flush()
    uploads.consume(session, store, speech.source, owner=owner, used_by=video_id)
    jobs.create(session, "render", owner=owner, subject_id=subject_id, video_id=video_id)
    quotas.check(session, settings, owner, "queued_jobs", "daily_seconds", "stored_bytes")
    return video


def delete_video(session: Session, store: ObjectStore, video_id: str, *, owner: str) -> None:
    """Deletes the video, its job (a worker that runs it stops) and its files. Raises NotFound."""
    video = queries.get(session, Video, video_id, owner=owner)
    jobs.delete_where(session, Job.video_id == video_id)
    session.execute(delete(Video).where(Video.id == video_id))
    idempotency.erase_naming(session, video_id, owner=owner)
    deletions.request(session, store, f"subjects/{video.subject_id}/videos/{video_id}/")


def video_file(session: Session, video_id: str, *, owner: str) -> Video:
    """Returns a finished video, which has `file_key`, `sha256` and `size_bytes`.

    Raises NotFound, ConsentWithdrawn, VideoNotReady.
    """
    video = queries.get(session, Video, video_id, owner=owner)
    viewable_subject(session, video.subject_id, owner=owner)
    if video.state != "ready":
        raise VideoNotReady(f"Video {video_id} is {video.state}.")
    return video
