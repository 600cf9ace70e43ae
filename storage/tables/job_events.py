"""The history of jobs: their progress at each change of state or stage, for clients that follow them.

A client that polls the job's row would miss changes between two polls. Each change is therefore recorded here, in the
transaction that makes it. The changes of a job are numbered by its `revision`, which is unique per job: a client that asks
for the changes after the last revision it received misses none.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Job, JobEvent

RETENTION_S = 24 * 3600.0
"""How long a change is stored. A client that reconnects later gets the job's current state only (docs/api.md)."""

MAX_KEPT = 200
"""Changes of one job that are stored, the newest ones: a job has some twenty, and whoever cancels and retries one without end neither fills
the database nor makes those who follow jobs wait."""

COLUMNS = ("state", "stage", "progress", "eta_s", "attempt", "max_attempts", "error")
"""The columns of a job that are recorded as they are."""
TIME_COLUMNS = ("started_at", "finished_at")
"""The columns of a job that are recorded as ISO 8601 text."""


def record(session: Session, job: Job, name: Literal["state", "stage"]) -> None:
    """Records the current progress of `job`, whose `name` has changed."""
    snapshot = {column: getattr(job, column) for column in COLUMNS}
    for column in TIME_COLUMNS:
        time = getattr(job, column)
        snapshot[column] = None if time is None else time.isoformat()
    session.add(JobEvent(job_id=job.id, revision=job.revision, name=name, then=snapshot))
    session.flush()
    if job.revision > MAX_KEPT:
        mine = select(JobEvent.revision).where(JobEvent.job_id == job.id).order_by(JobEvent.revision.desc())
        last = session.scalars(mine.offset(MAX_KEPT).limit(1)).first()
        if last is not None:
            old = delete(JobEvent).where(JobEvent.job_id == job.id, JobEvent.revision <= last)
            queries.execute_update(session, old)


def record_stage(session: Session, job_id: str, stage: str | None) -> None:
    """Records the progress of a job if its stage differs from the last recorded one."""
    query = select(JobEvent.then).where(JobEvent.job_id == job_id).order_by(JobEvent.revision.desc()).limit(1)
    latest = session.scalars(query).one_or_none()
    if latest is None or latest["stage"] != stage:
        record(session, session.get_one(Job, job_id, populate_existing=True), "stage")


def since(session: Session, revisions: Mapping[str, int]) -> dict[str, list[JobEvent]]:
    """Returns the changes of jobs after given revisions.

    Args:
        revisions: The last known revision by job id.

    Returns:
        The changes by job id, oldest first; an empty list for a job without changes.
    """
    events: dict[str, list[JobEvent]] = {job_id: [] for job_id in revisions}
    oldest = min(revisions.values(), default=0)
    query = select(JobEvent).where(JobEvent.job_id.in_(list(revisions)), JobEvent.revision > oldest)
    for event in session.scalars(query.order_by(JobEvent.revision)):
        if event.revision > revisions[event.job_id]:
            events[event.job_id].append(event)
    return events


def delete_expired(session: Session) -> int:
    """Deletes some of the changes that are older than RETENTION_S; returns their number, 0 if none is left."""
    expired = JobEvent.at <= queries.server_now(session) - timedelta(seconds=RETENTION_S)
    return queries.delete_some(session, JobEvent, expired)
