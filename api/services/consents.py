"""Withdrawing consent: the subject is never shown again, its work stops, and on request its files go.

The order of the locks is that of every transaction: jobs, then what they are for. So a job that is just being made or
claimed can slip past the first look; `withdraw_consent` looks again once it holds the subject, and a claim that waited
for it sees the withdrawal.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.engine import after_commit
from storage.database.models import Base, Job, Subject, Video, now
from storage.errors import MoveNotAllowed, NotFound
from storage.objects.base import ObjectStore
from storage.tables import jobs


def withdraw_consent(session: Session, store: ObjectStore, subject_id: str, *, owner: str, purge: bool) -> Subject:
    """The subject, from now on `cancelled` with all its videos; queued and running jobs are cancelled.

    With `purge` the footage, the models, the pictures, the sounds and the videos are removed from the store; the record of
    the consent stays, and so do the rows of the videos, by which a file can still be told to have been made here. Asking
    again changes nothing, but for a purge that was not asked for before. Raises NotFound.
    """
    queries.get(session, Subject, subject_id, owner=owner)
    _cancel_jobs(session, Job.subject_id == subject_id)
    moment = now()
    changed: dict[str, Any] = {"state": "cancelled", "updated_at": moment}
    _set(session, Subject, Subject.id == subject_id, Subject.withdrawn_at.is_(None), **changed, withdrawn_at=moment)
    _cancel_jobs(session, Job.subject_id == subject_id, Job.kind == "render")
    _set(session, Video, Video.subject_id == subject_id, Video.state != "cancelled", **changed)
    if purge:
        unpurged = Subject.id == subject_id, Subject.purged_at.is_(None)
        _set(session, Subject, *unpurged, **_without_keys(Subject), purged_at=moment, updated_at=moment)
        _set(session, Video, Video.subject_id == subject_id, **_without_keys(Video))
        after_commit(session, lambda: store.delete_prefix(f"subjects/{subject_id}/"))
    return queries.get(session, Subject, subject_id, owner=owner)


def _cancel_jobs(session: Session, *where: ColumnElement[bool]) -> None:
    active = select(Job.id).where(*where, Job.state.in_(("queued", "running"))).order_by(Job.id)
    for job_id in session.scalars(active).all():
        with suppress(MoveNotAllowed, NotFound):  # it ended, or was deleted, a moment ago
            jobs.cancel(session, job_id)


def _set(session: Session, model: type[Base], *where: ColumnElement[bool], **values: Any) -> None:
    session.execute(update(model).where(*where).values(**values), execution_options={"synchronize_session": False})


def _without_keys(model: type[Base]) -> dict[str, str | None]:
    """That a row names no object any more; so what a store that is away keeps for now, its janitor finds."""
    keys = [column for column in model.__table__.columns if column.name.endswith("_key")]
    return {column.name: None if column.nullable else "" for column in keys} | {"stored_bytes": 0}
