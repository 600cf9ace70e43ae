"""Statistics of the whole service for monitoring. The queries read active jobs only, so old jobs do not slow them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database.models import Job, JobKind, JobState, Worker
from storage.tables import counters, webhooks, workers
from storage.tables.counters import Count


class QueueStats(NamedTuple):
    """The number of jobs of one kind in one state, and the time at which the oldest of them was queued."""

    kind: JobKind
    state: JobState
    jobs: int
    oldest_queued_at: datetime


class ServiceStats(NamedTuple):
    """The state of the service at one time."""

    queue: list[QueueStats]
    """Queued and running jobs."""
    workers: list[Worker]
    """Workers with a recent heartbeat."""
    counts: list[Count]
    """All counters since the database was created."""
    delivery_due_since: datetime | None
    """Due time of the longest overdue webhook delivery; None if no delivery is due."""


def read(session: Session, *, worker_silence_s: float) -> ServiceStats:
    """Reads the current statistics; a worker without a heartbeat for `worker_silence_s` seconds is left out."""
    return ServiceStats(
        queue(session),
        workers.alive(session, within_s=worker_silence_s),
        counters.all_counts(session),
        webhooks.due_since(session),
    )


def queue(session: Session) -> list[QueueStats]:
    """Counts queued and running jobs by kind. The cost does not depend on the number of ended jobs."""
    query = (
        select(Job.kind, Job.state, func.count(), func.min(Job.queued_at))
        .where(Job.state.in_(("queued", "running")))
        .group_by(Job.kind, Job.state)
        .order_by(Job.kind, Job.state)
    )
    return [QueueStats(*row) for row in session.execute(query)]
