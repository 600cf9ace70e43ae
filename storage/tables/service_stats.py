"""ServiceStats of the whole service for those who watch it, by queries that read the jobs in work and no others."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database.models import Job, JobKind, JobState, Worker
from storage.tables import counters, webhooks, workers
from storage.tables.counters import Count


class QueueFigure(NamedTuple):
    """Jobs of one kind in one state: how many, and since when the oldest of them was queued."""

    kind: JobKind
    state: JobState
    jobs: int
    oldest_queued_at: datetime


class ServiceStats(NamedTuple):
    """The service at one moment."""

    queue: list[QueueFigure]
    """Queued and running jobs."""
    workers: list[Worker]
    """Those that are alive."""
    tallies: list[Count]
    """Everything that was counted since the database was made."""
    delivery_due_since: datetime | None
    """When the delivery to a webhook was due that has been for longest; None: none is."""


def read(session: Session, *, worker_silence_s: float) -> ServiceStats:
    """The figures now. A worker that was not heard of for `worker_silence_s` seconds does not count."""
    return ServiceStats(
        queue(session),
        workers.alive(session, within_s=worker_silence_s),
        counters.all_counts(session),
        webhooks.due_since(session),
    )


def queue(session: Session) -> list[QueueFigure]:
    """How many jobs of each kind are queued, and how many run. Cheap however many have ended."""
    query = (
        select(Job.kind, Job.state, func.count(), func.min(Job.queued_at))
        .where(Job.state.in_(("queued", "running")))
        .group_by(Job.kind, Job.state)
        .order_by(Job.kind, Job.state)
    )
    return [QueueFigure(*row) for row in session.execute(query)]
