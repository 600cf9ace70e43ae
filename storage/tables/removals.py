"""The trash of subjects and videos, and their deletion for good.

What is in the trash is hidden from lists, gets no new work and is shown to nobody else; its owner can restore it until
`trashed_until`. Then the cleanup deletes it. Rows and files are there meanwhile, so quotas count them. The trash of the object store
(storage/trash.py) is another one: it holds objects that no row names.

A subject may have a hundred thousand videos, and other writers must not wait for them. The videos of a subject in the trash are there
because it is: only its own row says so. A subject that is deleted gets `deleted_at` in a short transaction, after which nothing of it is
found any more (queries.get); its rows are deleted in batches, by the request, or by the sweep (worker/sweeper.py), also after a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, not_, select, union_all, update
from sqlalchemy.orm import Session, aliased

from storage.database import queries
from storage.database.models import Delivery, Job, Subject, Video, now
from storage.errors import InTrash
from storage.objects.base import ObjectStore
from storage.tables import deletions, idempotency, jobs, uploads, webhooks, withdrawals

AT_ONCE = {Subject: 1, Video: 50}
"""Subjects (with a batch of their videos) and videos that one transaction deletes for good: other writers wait for it."""
BATCH = 500
"""Jobs of a deleted subject, with their videos, that one transaction deletes: some hundredths of a second."""


def trashed_until(row: Subject | Video) -> datetime | None:
    """Returns until when a subject or video is in the trash, a video also because of its subject; None if it is not there."""
    subject = row.subject_trashed_until if isinstance(row, Video) else None
    return min(filter(None, (row.trashed_until, subject)), default=None)


def check(row: Subject | Video) -> None:
    """Raises InTrash if the subject or video is in the trash."""
    if trashed_until(row) is not None:
        raise InTrash(f"{row.id} is in the trash.")


def in_trash(model: type[Subject | Video], wanted: bool, *, owner: str) -> ColumnElement[bool]:
    """Returns the condition of a list of `owner`: what is in the trash, or what is not."""
    there = model.trashed_until.is_not(None)
    if model is Subject:
        return there if wanted else not_(there)
    subjects = select(Subject.id).where(Subject.owner == owner, Subject.trashed_until.is_not(None))
    if not wanted:
        return and_(not_(there), Video.subject_id.not_in(subjects))
    # The ids first, each kind from its index: an alternative of two conditions would be looked for in all videos of the owner.
    itself, of_subject = aliased(Video), aliased(Video)
    ids = union_all(
        select(itself.id).where(itself.owner == owner, itself.trashed_until.is_not(None)),
        select(of_subject.id).where(of_subject.subject_id.in_(subjects)),
    )
    return Video.id.in_(ids)


def trash(session: Session, row: Subject | Video, *, keep_s: float) -> None:
    """Moves a subject with its videos, or a video, to the trash for `keep_s` seconds, and cancels its jobs.

    What is in the trash already stays there until the time that was set first. The queued jobs of a subject's videos may be thousands,
    and to cancel them all would hold up other writers: they stay queued, and are not claimed (queue.claimable).
    """
    model = type(row)
    until = queries.server_now(session) + timedelta(seconds=keep_s)
    _cancel_jobs(session, row)
    _set(session, model, model.id == row.id, in_trash(model, False, owner=row.owner), trashed_until=until)
    _cancel_jobs(session, row)  # one may have been created, retried or claimed until the row was locked


def restore(session: Session, row: Subject | Video) -> None:
    """Takes a subject, with the videos that went with it, or a video out of the trash. Its queued jobs go on; cancelled ones can be retried.

    Raises InTrash: the subject of the video is in the trash.
    """
    if isinstance(row, Video):
        subject = queries.get(session, Subject, row.subject_id, lock=True)
        if subject.trashed_until is not None:
            raise InTrash(f"The subject {subject.id} of this video is in the trash.", "Restore the subject.")
    elif row.trashed_until is not None:
        jobs.rejoin(session, row.id, owner=row.owner)
        # Videos that a process of an earlier version has put into the trash with their subject.
        same = Video.subject_id == row.id, Video.trashed_until == row.trashed_until
        _set(session, Video, *same, trashed_until=None)
    _set(session, type(row), type(row).id == row.id, trashed_until=None)


def delete_subject(session: Session, store: ObjectStore, subject: Subject) -> bool:
    """Deletes a subject, its videos, its jobs (a worker that runs one stops) and all their files.

    Returns:
        Whether some are left to `continue_deletion` (there are many, or they are locked); nobody finds them any more.
    """
    jobs.delete_where(session, Job.id.in_(jobs.running_of(session, subject.id)))
    if subject.withdrawn_at is not None:  # by an earlier version, which did not record it
        withdrawals.remember(session, subject)
    time = queries.server_now(session)
    _set(session, Subject, Subject.id == subject.id, deleted_at=time, trashed_until=time)
    deletions.request(session, store, f"subjects/{subject.id}/")
    return continue_deletion(session, subject.id)


def continue_deletion(session: Session, subject_id: str) -> bool:
    """Deletes the next BATCH jobs of a subject that is being deleted, with their videos, and at the end itself.

    Returns:
        Whether something is left: because it is much, or because others have locked it now, such as a worker that ends a job.
    """
    owner = session.scalars(select(Subject.owner).where(Subject.id == subject_id)).one_or_none()
    if owner is None:  # another process was quicker
        return False
    next_jobs = select(Job.id, Job.video_id).where(Job.subject_id == subject_id).order_by(Job.id).limit(BATCH)
    batch = session.execute(next_jobs.with_for_update(skip_locked=True)).all()
    videos = [job.video_id for job in batch if job.video_id is not None]
    jobs.delete_where(session, Job.id.in_([job.id for job in batch]))
    session.execute(delete(Video).where(Video.id.in_(videos)))
    if left := session.scalars(select(exists().where(Job.subject_id == subject_id))).one():
        names, deliveries = videos, Delivery.video_id.in_(videos)
    else:
        session.execute(delete(Subject).where(Subject.id == subject_id))
        names, deliveries = [*videos, subject_id], Delivery.subject_id == subject_id
    idempotency.erase_naming(session, *names, owner=owner)
    uploads.forget_used(session, *names, owner=owner)
    webhooks.delete_deliveries(session, deliveries, owner=owner)
    return left


def unfinished(session: Session) -> Sequence[str]:
    """Returns subjects for which `continue_deletion` has something to do, one of each owner."""
    deleted = select(func.min(Subject.id)).where(Subject.deleted_at.is_not(None))
    return session.scalars(deleted.group_by(Subject.owner)).all()


def delete_video(session: Session, store: ObjectStore, video: Video) -> None:
    """Deletes a video, its job (a worker that runs it stops) and its files."""
    jobs.delete_where(session, Job.video_id == video.id)
    session.execute(delete(Video).where(Video.id == video.id))
    idempotency.erase_naming(session, video.id, owner=video.owner)
    uploads.forget_used(session, video.id, owner=video.owner)
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
    subjects = _due(session, Subject, Subject.deleted_at.is_(None))
    for subject in subjects:
        delete_subject(session, store, subject)
    videos = _due(session, Video)
    for video in videos:
        delete_video(session, store, video)
    return [row.id for row in (*subjects, *videos)]


def _cancel_jobs(session: Session, row: Subject | Video) -> None:
    if isinstance(row, Video):
        jobs.cancel_active(session, Job.video_id == row.id)
    else:
        jobs.cancel_of_subject(session, row.id)


def _due(session: Session, model: type[queries.Row], *where: ColumnElement[bool]) -> list[queries.Row]:
    due = select(model).where(*where, model.trashed_until <= queries.server_now(session)).order_by(model.trashed_until)
    return list(session.scalars(due.limit(AT_ONCE[model]).with_for_update(skip_locked=True)))


def _set(session: Session, model: type[Subject | Video], *where: ColumnElement[bool], **values: Any) -> None:
    changed = {"updated_at": now()} | values
    queries.execute_update(session, update(model).where(*where).values(**changed))
