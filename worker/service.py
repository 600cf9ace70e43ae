"""The use cases, called by the HTTP routes and by tests. No torch here, and no word of HTTP.

Every function works inside the caller's transaction (storage.db.Database.session): what it did is durable, and files
are removed, when that commits. The two `submit_` functions take in files before their first statement, so that a slow
upload does not hold up other writers; call them in a fresh session.
"""

from __future__ import annotations

from typing import BinaryIO

from sqlalchemy import delete
from sqlalchemy.orm import Session

from adnerf_core.config import PresetName, RenderOptions
from storage import jobs, rows
from storage.db import after_commit, after_rollback
from storage.errors import PreviewNotReady, ReportNotReady, SubjectNotReady, VideoNotReady
from storage.models import Job, JobKind, JobState, Subject, SubjectState, Video, VideoState, new_id, now
from storage.objects import ObjectStore
from storage.rows import Page


def submit_subject(
    session: Session, store: ObjectStore, *, name: str, preset: PresetName, consent: str, video: BinaryIO, limit: int
) -> Subject:
    """A new subject from a reference video (a file open for reading), and the job that preprocesses it.

    Raises EmptyFile, FileTooLarge (more than `limit` bytes), StoreFull.
    """
    subject_id = new_id("sub")
    folder = f"subjects/{subject_id}/"
    after_rollback(session, lambda: store.delete_prefix(folder))
    source = store.put(folder + "source", video, limit=limit)
    subject = Subject(id=subject_id, name=name, state="pending", preset=preset, consent=consent, source_key=source.key)
    session.add(subject)
    session.flush()
    jobs.create(session, "preprocess", subject_id)
    return get_subject(session, subject_id)


def get_subject(session: Session, subject_id: str) -> Subject:
    """The subject with its jobs, oldest first. Raises NotFound."""
    return rows.get(session, Subject, subject_id)


def ready_subject(session: Session, subject_id: str, *, hold: bool = False) -> Subject:
    """The subject, of which videos can be made; with `hold`, it is there until the end of this transaction.

    Raises NotFound, SubjectNotReady.
    """
    subject = rows.get(session, Subject, subject_id, hold=hold)
    if subject.state != "ready":
        raise SubjectNotReady(f"Subject {subject_id} is {subject.state}.")
    return subject


def list_subjects(
    session: Session, *, state: SubjectState | None = None, limit: int = 50, cursor: str | None = None
) -> Page[Subject]:
    """Subjects, newest first; `cursor` is the `next_cursor` of the page before."""
    return rows.page(session, Subject, limit=limit, cursor=cursor, state=state)


def rename_subject(session: Session, subject_id: str, name: str) -> Subject:
    """Gives the subject another name. Raises NotFound."""
    subject = rows.get(session, Subject, subject_id)
    subject.name, subject.updated_at = name, now()
    session.flush()
    return get_subject(session, subject_id)


def delete_subject(session: Session, store: ObjectStore, subject_id: str) -> None:
    """Removes the subject, its videos, its jobs (a worker that runs one stops) and all their files. Raises NotFound."""
    rows.get(session, Subject, subject_id)
    jobs.forget(session, Job.subject_id == subject_id)
    session.execute(delete(Subject).where(Subject.id == subject_id))
    after_commit(session, lambda: store.delete_prefix(f"subjects/{subject_id}/"))


def subject_preview(session: Session, subject_id: str) -> str:
    """The key of the newest preview (a JPEG; another picture has another key). Raises NotFound, PreviewNotReady."""
    subject = rows.get(session, Subject, subject_id)
    if subject.preview_key is None:
        raise PreviewNotReady(f"Subject {subject_id} has no preview yet.")
    return subject.preview_key


def subject_report(session: Session, subject_id: str) -> str:
    """The key of the report (an HTML page). Raises NotFound, ReportNotReady."""
    subject = rows.get(session, Subject, subject_id)
    if subject.report_key is None:
        raise ReportNotReady(f"Subject {subject_id} has no report yet.")
    return subject.report_key


def submit_video(
    session: Session,
    store: ObjectStore,
    *,
    subject_id: str,
    options: RenderOptions,
    audio: BinaryIO,
    audio_limit: int,
    background: BinaryIO | None = None,
    background_limit: int = 0,
) -> Video:
    """A new video of a ready subject speaking `audio`, and the job that renders it.

    `background` is the picture for background kind `image`; both are files open for reading, with limits in bytes.
    The files are stored under `subject_id`, so a caller makes sure before, by `ready_subject`, that it is one.
    Raises NotFound, SubjectNotReady, EmptyFile, FileTooLarge, StoreFull.
    """
    video_id = new_id("vid")
    folder = f"subjects/{subject_id}/videos/{video_id}/"
    after_rollback(session, lambda: store.delete_prefix(folder))
    audio_key = store.put(folder + "audio", audio, limit=audio_limit).key
    background_key = None
    if background is not None:
        background_key = store.put(folder + "background", background, limit=background_limit).key
    ready_subject(session, subject_id, hold=True)
    video = Video(
        id=video_id,
        subject_id=subject_id,
        state="pending",
        options=options.model_dump(mode="json"),
        audio_key=audio_key,
        background_key=background_key,
    )
    session.add(video)
    session.flush()
    jobs.create(session, "render", subject_id, video_id)
    return get_video(session, video_id)


def get_video(session: Session, video_id: str) -> Video:
    """The video with its job. Raises NotFound."""
    return rows.get(session, Video, video_id)


def list_videos(
    session: Session,
    *,
    state: VideoState | None = None,
    subject_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Video]:
    """Videos, newest first."""
    return rows.page(session, Video, limit=limit, cursor=cursor, state=state, subject_id=subject_id)


def delete_video(session: Session, store: ObjectStore, video_id: str) -> None:
    """Removes the video, its job (a worker that runs it stops) and their files. Raises NotFound."""
    video = rows.get(session, Video, video_id)
    jobs.forget(session, Job.video_id == video_id)
    session.execute(delete(Video).where(Video.id == video_id))
    after_commit(session, lambda: store.delete_prefix(f"subjects/{video.subject_id}/videos/{video_id}/"))


def video_file(session: Session, video_id: str) -> Video:
    """The video, sure to have `file_key`, `sha256` and `size_bytes`. Raises NotFound, VideoNotReady."""
    video = rows.get(session, Video, video_id)
    if video.state != "ready":
        raise VideoNotReady(f"Video {video_id} is {video.state}.")
    return video


def get_job(session: Session, job_id: str) -> Job:
    """The job. `revision` changes with every change of it. Raises NotFound."""
    return rows.get(session, Job, job_id)


def list_jobs(
    session: Session,
    *,
    state: JobState | None = None,
    kind: JobKind | None = None,
    subject_id: str | None = None,
    video_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Job]:
    """Jobs, newest first; `subject_id` includes the jobs of the subject's videos."""
    return rows.page(
        session, Job, limit=limit, cursor=cursor, state=state, kind=kind, subject_id=subject_id, video_id=video_id
    )


def queue_positions(session: Session, found: list[Job]) -> dict[str, int]:
    """For the queued ones of these jobs, by id: the place in the queue; 1 is the next to run."""
    return jobs.queue_positions(session, [job.id for job in found if job.state == "queued"])


def cancel_job(session: Session, job_id: str) -> Job:
    """Cancels a queued or running job; a running one stops within seconds. Raises NotFound, MoveNotAllowed."""
    return jobs.cancel(session, job_id)


def retry_job(session: Session, job_id: str) -> Job:
    """Queues a failed or cancelled job again; it goes on from what stands. Raises NotFound, MoveNotAllowed."""
    return jobs.retry(session, job_id)
