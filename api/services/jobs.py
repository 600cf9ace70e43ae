"""Use cases of jobs."""

from __future__ import annotations

from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Job, Subject, Video
from storage.settings import Settings
from storage.tables import consents, jobs, queue, quotas


def queue_positions(session: Session, rows: list[Job]) -> dict[str, int]:
    """Returns the positions in the queue, by id, of those jobs that are queued; 1 is the next to run."""
    return queue.queue_positions(session, [job.id for job in rows if job.state == "queued"])


def cancel_job(session: Session, job_id: str, *, owner: str) -> Job:
    """Cancels a queued or running job; a running one stops within seconds. Raises NotFound, MoveNotAllowed."""
    queries.get(session, Job, job_id, owner=owner)
    return jobs.cancel(session, job_id)


def retry_job(session: Session, settings: Settings, job_id: str, *, owner: str) -> Job:
    """Queues a failed or cancelled job again; it continues from its last checkpoint or finished stage.

    Raises NotFound, MoveNotAllowed, ConsentWithdrawn, QuotaExceeded.
    """
    queries.get(session, Job, job_id, owner=owner)
    job = jobs.retry(session, job_id)
    consents.check(queries.get(session, Subject, job.subject_id, lock=True))
    video = queries.get(session, Video, job.video_id) if job.video_id else None
    seconds = {"daily_seconds": video.idle_s or 0.0} if video else {}
    quotas.check(session, settings, owner, "queued_jobs", **seconds)
    return job
