"""Withdrawal of consent: the subject is never shown again, its jobs stop, and on request its files are deleted.

Every transaction locks jobs before their subjects and videos. Therefore a job that is being created or claimed at the
same moment can be missed at first: `withdraw_consent` cancels jobs a second time once it holds the subject's row, and a
claim that waited for that row sees the withdrawal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Base, Job, Subject, Video, now
from storage.errors import MoveNotAllowed, NotFound
from storage.objects.base import ObjectStore
from storage.tables import deletions, idempotency, jobs


def withdraw_consent(session: Session, store: ObjectStore, subject_id: str, *, owner: str, purge: bool) -> Subject:
    """Withdraws the consent: cancels the subject, its videos and their queued and running jobs; returns the subject.

    With `purge`, all files of the subject and its videos are deleted. The record of the consent stays, and so do the rows
    of the videos, by which a file can still be recognized as made here. A second call changes nothing, except that it
    can add the purge. Raises NotFound.
    """
    queries.get(session, Subject, subject_id, owner=owner)
    _cancel_jobs(session, Job.subject_id == subject_id)
    time = now()
    cancelled: dict[str, Any] = {"state": "cancelled", "updated_at": time}
    _set(session, Subject, Subject.id == subject_id, Subject.withdrawn_at.is_(None), **cancelled, withdrawn_at=time)
    _cancel_jobs(session, Job.subject_id == subject_id, Job.kind == "render")
    _set(session, Video, Video.subject_id == subject_id, Video.state != "cancelled", **cancelled)
    if purge:
        unpurged = Subject.id == subject_id, Subject.purged_at.is_(None)
        _set(session, Subject, *unpurged, **_without_keys(Subject), purged_at=time, updated_at=time)
        _set(session, Video, Video.subject_id == subject_id, **_without_keys(Video), script=None, spoken=None)
        idempotency.erase_naming(session, subject_id, owner=owner)
        deletions.request(session, store, f"subjects/{subject_id}/")
    return queries.get(session, Subject, subject_id, owner=owner)


def _cancel_jobs(session: Session, *where: ColumnElement[bool]) -> None:
    active = select(Job.id).where(*where, Job.state.in_(("queued", "running"))).order_by(Job.id)
    for job_id in session.scalars(active).all():
        with suppress(MoveNotAllowed, NotFound):  # it ended or was deleted meanwhile
            jobs.cancel(session, job_id)


def _set(session: Session, model: type[Base], *where: ColumnElement[bool], **values: Any) -> None:
    queries.execute_update(session, update(model).where(*where).values(**values))


def _without_keys(model: type[Base]) -> dict[str, str | None]:
    """Values for a row that names no objects. The cleaner deletes what the store, if it is away now, still has."""
    keys = [column for column in model.__table__.columns if column.name.endswith("_key")]
    return {column.name: None if column.nullable else "" for column in keys} | {"stored_bytes": 0}
