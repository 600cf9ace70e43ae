"""Use cases of jobs."""

from __future__ import annotations

from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Job, Subject
from storage.settings import Settings
from storage.tables import consents, jobs, quotas


def queue_positions(session: Session, found: list[Job]) -> dict[str, int]:
    """For the queued ones of these jobs, by id: the place in the queue; 1 is the next to run."""
    return jobs.queue_positions(session, [job.id for job in found if job.state == "queued"])


def cancel_job(session: Session, job_id: str, *, owner: str) -> Job:
    """Cancels a queued or running job; a running one stops within seconds. Raises NotFound, MoveNotAllowed."""
    queries.get(session, Job, job_id, owner=owner)
    return jobs.cancel(session, job_id)


def retry_job(session: Session, settings: Settings, job_id: str, *, owner: str) -> Job:
    """Queues a failed or cancelled job again; it goes on from what stands.

    Raises NotFound, MoveNotAllowed, ConsentWithdrawn, QuotaExceeded.
    """
    queries.get(session, Job, job_id, owner=owner)
    job = jobs.retry(session, job_id)
    consents.check(queries.get(session, Subject, job.subject_id, hold=True))
    quotas.check(session, settings, owner, "queued_jobs")
    return job
