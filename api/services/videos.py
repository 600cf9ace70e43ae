"""Use cases of videos."""

from __future__ import annotations

import secrets
from typing import BinaryIO

from sqlalchemy import delete
from sqlalchemy.orm import Session

from adnerf_core.config import MARK_BITS, RenderOptions
from api.services.subjects import ready_subject, viewable_subject
from storage.database import queries
from storage.database.engine import after_commit, after_rollback
from storage.database.models import Job, Video, new_id
from storage.errors import VideoNotReady
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import jobs, quotas, uploads


def submit_video(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    subject_id: str,
    options: RenderOptions,
    audio: BinaryIO,
    audio_limit: int,
    upload_id: str | None = None,
    background: BinaryIO | None = None,
    background_limit: int = 0,
) -> Video:
    """A new video of a ready subject speaking `audio`, and the job that renders it.

    `background` is the picture for background kind `image`; both are files open for reading, with limits in bytes.
    `upload_id` is the upload whose content `audio` is; it is used up.
    The files are stored under `subject_id`, so a caller makes sure before, by `ready_subject`, that it is one.
    Raises NotFound, ConsentWithdrawn, SubjectNotReady, EmptyFile, FileTooLarge, StoreFull, UploadIncomplete, UploadUsed,
    QuotaExceeded.
    """
    video_id = new_id("vid")
    folder = f"subjects/{subject_id}/videos/{video_id}/"
    after_rollback(session, lambda: store.delete_prefix(folder))
    stored = [store.put(folder + "audio", audio, limit=audio_limit)]
    if background is not None:
        stored.append(store.put(folder + "background", background, limit=background_limit))
    ready_subject(session, subject_id, owner=owner, hold=True)
    video = Video(
        id=video_id,
        owner=owner,
        subject_id=subject_id,
        state="pending",
        options=options.model_dump(mode="json"),
        audio_key=stored[0].key,
        background_key=stored[1].key if background is not None else None,
        stored_bytes=sum(each.size for each in stored),
        mark=secrets.randbits(MARK_BITS),
    )
    session.add(video)
    session.flush()
    if upload_id is not None:
        uploads.consume(session, store, upload_id, owner=owner, used_by=video_id)
    jobs.create(session, "render", subject_id, video_id)
    quotas.check(session, settings, owner, "queued_jobs", "daily_seconds", "stored_bytes")
    return queries.get(session, Video, video_id, owner=owner)


def delete_video(session: Session, store: ObjectStore, video_id: str, *, owner: str) -> None:
    """Removes the video, its job (a worker that runs it stops) and their files. Raises NotFound."""
    video = queries.get(session, Video, video_id, owner=owner)
    jobs.delete_job(session, Job.video_id == video_id)
    session.execute(delete(Video).where(Video.id == video_id))
    after_commit(session, lambda: store.delete_prefix(f"subjects/{video.subject_id}/videos/{video_id}/"))


def video_file(session: Session, video_id: str, *, owner: str) -> Video:
    """The video, sure to have `file_key`, `sha256` and `size_bytes`. Raises NotFound, ConsentWithdrawn, VideoNotReady."""
    video = queries.get(session, Video, video_id, owner=owner)
    viewable_subject(session, video.subject_id, owner=owner)
    if video.state != "ready":
        raise VideoNotReady(f"Video {video_id} is {video.state}.")
    return video
