"""Events: what jobs had come to each time that their state or stage changed, for those who follow them.

The job's row tells how things are; who looks at it now and then would miss what came and went in between. So a change is
also noted here, in the transaction that makes it. A job's changes are numbered by its `revision`, which no two transactions
can give twice: who has seen one number asks for what came after it, and misses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from storage.database.models import Job, JobEvent, now

KEPT_S = 24 * 3600.0
"""How long a change is kept. Who comes back later than that is told how things are."""

STANDING = ("state", "stage", "progress", "eta_s", "attempt", "max_attempts", "error")
TIMES = ("started_at", "finished_at")


def record(session: Session, job: Job, name: Literal["state", "stage"]) -> None:
    """Notes what `job` has come to now: its `name` has changed."""
    then = {field: getattr(job, field) for field in STANDING}
    then |= {field: moment and moment.isoformat() for field in TIMES for moment in [getattr(job, field)]}
    session.add(JobEvent(job_id=job.id, revision=job.revision, name=name, then=then))
    session.flush()


def note_stage(session: Session, job_id: str, stage: str | None) -> None:
    """The same for a job that has just been heard of, where it was in another stage before."""
    query = select(JobEvent.then).where(JobEvent.job_id == job_id).order_by(JobEvent.revision.desc()).limit(1)
    before = session.scalars(query).one_or_none()
    if before is None or before["stage"] != stage:
        record(session, session.get_one(Job, job_id, populate_existing=True), "stage")


def since(session: Session, revisions: Mapping[str, int]) -> dict[str, list[JobEvent]]:
    """For each of these jobs its changes after the revision that is given, oldest first."""
    found: dict[str, list[JobEvent]] = {job_id: [] for job_id in revisions}
    least = min(revisions.values(), default=0)
    query = select(JobEvent).where(JobEvent.job_id.in_(list(revisions)), JobEvent.revision > least)
    for event in session.scalars(query.order_by(JobEvent.revision)):
        if event.revision > revisions[event.job_id]:
            found[event.job_id].append(event)
    return found


def trim(session: Session) -> int:
    """Removes the changes that have been kept for long enough; returns how many."""
    oldest = now() - timedelta(seconds=KEPT_S)
    return session.execute(delete(JobEvent).where(JobEvent.at <= oldest)).rowcount
