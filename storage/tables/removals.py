"""The trash of subjects and videos, and their deletion for good.

What is in the trash is hidden from lists, gets no new work and is shown to nobody else; its owner can restore it until
`trashed_until`. Then the cleanup deletes it. Rows and files are there meanwhile, so quotas count them. The trash of the object store
(storage/trash.py) is another one: it holds objects that no row names.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Delivery, Job, Subject, Video, now
from storage.errors import InTrash
from storage.objects.base import ObjectStore
from storage.tables import deletions, idempotency, jobs, webhooks

AT_ONCE = {Subject: 1, Video: 50}
"""Subjects (with all their videos) and videos that one transaction deletes for good: other writers wait for it."""


def check(row: Subject | Video) -> None:
    """Raises InTrash if the subject or video is in the trash."""
    if row.trashed_until is not None:
        raise InTrash(f"{row.id} is in the trash.")


def in_trash(model: type[Subject | Video], wanted: bool) -> ColumnElement[bool]:
    """Returns the condition of a list: what is in the trash, or what is not."""
    return model.trashed_until.is_not(None) if wanted else model.trashed_until.is_(None)


def trash(session: Session, row: Subject | Video, *, keep_s: float) -> None:
    """Moves a subject with its videos, or a video, to the trash for `keep_s` seconds, and cancels its jobs.

    What is in the trash already stays there until the time that was set first. The queued jobs of a subject's videos may be thousands,
    and to cancel them all would hold up other writers: they stay queued, and are not claimed (queue.claimable).
    """
    if isinstance(row, Subject):
        mine = Job.subject_id == row.id, or_(Job.state == "running", Job.video_id.is_(None))
    else:
        mine = (Job.video_id == row.id,)
    until = queries.server_now(session) + timedelta(seconds=keep_s)
    jobs.cancel_active(session, *mine)
    _set(session, type(row), type(row).id == row.id, type(row).trashed_until.is_(None), trashed_until=until)
    if isinstance(row, Subject):
        _set(session, Video, Video.subject_id == row.id, Video.trashed_until.is_(None), trashed_until=until)
    jobs.cancel_active(session, *mine)  # one may have been created, retried or claimed until the row was locked


def restore(session: Session, row: Subject | Video) -> None:
    """Takes a subject, with the videos that went with it, or a video out of the trash. Its queued jobs go on; cancelled ones can be retried.

    Raises InTrash: the subject of the video is in the trash.
    """
    if isinstance(row, Video):
        subject = queries.get(session, Subject, row.subject_id, lock=True)
        if subject.trashed_until is not None:
            raise InTrash(f"The subject {subject.id} of this video is in the trash.", "Restore the subject.")
    elif row.trashed_until is not None:
        jobs.rejoin(session, row.id)
        same = Video.subject_id == row.id, Video.trashed_until == row.trashed_until
        _set(session, Video, *same, trashed_until=None)
    _set(session, type(row), type(row).id == row.id, trashed_until=None)


def delete_subject(session: Session, store: ObjectStore, subject: Subject) -> None:
    """Deletes a subject, its videos, its jobs (a worker that runs one stops) and all their files."""
    jobs.delete_where(session, Job.subject_id == subject.id)
    session.execute(delete(Subject).where(Subject.id == subject.id))
    idempotency.erase_naming(session, subject.id, owner=subject.owner)
    webhooks.delete_deliveries(session, Delivery.subject_id == subject.id, owner=subject.owner)
    deletions.request(session, store, f"subjects/{subject.id}/")


def delete_video(session: Session, store: ObjectStore, video: Video) -> None:
    """Deletes a video, its job (a worker that runs it stops) and its files."""
    jobs.delete_where(session, Job.video_id == video.id)
    session.execute(delete(Video).where(Video.id == video.id))
    idempotency.erase_naming(session, video.id, owner=video.owner)
    webhooks.delete_deliveries(session, Delivery.video_id == video.id, owner=video.owner)
    deletions.request(session, store, f"subjects/{video.subject_id}/videos/{video.id}/")


def keep_longer(session: Session, *, keep_s: float) -> None:
    """Keeps all that is in the trash for at least `keep_s` seconds from now, as after a backup was restored: its time ran on meanwhile."""
    until = queries.server_now(session) + timedelta(seconds=keep_s)
    times = {
        time
        for model in (Subject, Video)
        for time in session.scalars(select(model.trashed_until).where(model.trashed_until < until))
    }
    # Different times stay different: by equal ones, `restore` knows what went together.
    for number, time in enumerate(sorted(times)):
        for model in (Subject, Video):
            _set(session, model, model.trashed_until == time, trashed_until=until + timedelta(seconds=number))


def delete_due(session: Session, store: ObjectStore) -> list[str]:
    """Deletes for good the next subjects and videos (AT_ONCE) that have been in the trash for their time; returns the ids."""
    subjects = _due(session, Subject)
    for subject in subjects:
        delete_subject(session, store, subject)
    videos = _due(session, Video)  # without those of the subjects, which are gone
    for video in videos:
        delete_video(session, store, video)
    return [row.id for row in (*subjects, *videos)]


def _due(session: Session, model: type[queries.Row]) -> list[queries.Row]:
    due = select(model).where(model.trashed_until <= queries.server_now(session)).order_by(model.trashed_until)
    return list(session.scalars(due.limit(AT_ONCE[model]).with_for_update(skip_locked=True)))


def _set(session: Session, model: type[Subject | Video], *where: ColumnElement[bool], **values: Any) -> None:
    changed = {"updated_at": now()} | values
    queries.execute_update(session, update(model).where(*where).values(**changed))
