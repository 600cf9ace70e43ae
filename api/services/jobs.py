"""Use cases of jobs."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Job, Subject, Video
from storage.settings import Settings
from storage.tables import consents, jobs, queue, quotas, removals
from storage.tables.estimates import Estimates


class JobForecast(NamedTuple):
    """Places in the queue and estimated times of jobs that have not ended."""

    positions: dict[str, int]
    """Positions in the queue of the queued jobs, by job id; 1 is the next to run."""
    etas: dict[str, float]
    """Estimated seconds to the end of the queued jobs, by job id, where there is something to estimate from."""
    subjects: dict[str, float]
    """Estimated seconds until the subjects of the jobs are ready, by subject id; only of those that are being made."""


def forecast(session: Session, rows: list[Job]) -> JobForecast:
    """Returns the forecast for those of the jobs that have not ended."""
    active = [job for job in rows if job.state in ("queued", "running")]
    if not active:
        return JobForecast({}, {}, {})
    positions = queue_positions(session, active)
    estimates = Estimates(session)
    etas = {job.id: estimates.to_end(job, positions.get(job.id)) for job in active}
    subjects = {job.subject_id: estimates.to_ready(job, etas[job.id]) for job in active if job.kind != "render"}
    queued = {job.id: etas[job.id] for job in active if job.state == "queued"}
    return JobForecast(positions, _known(queued), _known(subjects))


def _known(values: dict[str, float | None]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in values.items() if value is not None}


def queue_positions(session: Session, rows: list[Job]) -> dict[str, int]:
    """Returns the positions in the queue, by id, of those jobs that are queued; 1 is the next to run."""
    return queue.queue_positions(session, [job.id for job in rows if job.state == "queued"])


def cancel_job(session: Session, job_id: str, *, owner: str) -> Job:
    """Cancels a queued or running job; a running one stops within seconds. Raises NotFound, MoveNotAllowed."""
    queries.get(session, Job, job_id, owner=owner)
    return jobs.cancel(session, job_id)


def retry_job(session: Session, settings: Settings, job_id: str, *, owner: str) -> Job:
    """Queues a failed or cancelled job again; it continues from its last checkpoint or finished stage.

    Raises NotFound, MoveNotAllowed, ConsentWithdrawn, InTrash, QuotaExceeded.
    """
    queries.get(session, Job, job_id, owner=owner)
    job = jobs.retry(session, job_id)
    subject = queries.get(session, Subject, job.subject_id, lock=True)
    consents.check(subject)
    removals.check(subject)
    video = queries.get(session, Video, job.video_id, lock=True) if job.video_id else None
    if video is not None:
        removals.check(video)
    seconds = {"daily_seconds": video.idle_s or 0.0} if video else {}
    quotas.check(session, settings, owner, "queued_jobs", **seconds)
    return job
