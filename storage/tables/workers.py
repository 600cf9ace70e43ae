"""Worker processes and their heartbeats, and the only writer of the workers table.

The table is for people, `/readyz`, metrics, and the positions in the queue. It decides nothing about jobs: their leases do
(storage/tables/jobs.py). Its times are those of the database server, one clock for all machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import JobKind, Worker

QUEUES: dict[JobKind, str] = {"preprocess": "cpu", "train": "gpu_train", "render": "gpu_render"}
"""The queue of each kind of job: its name in Celery, and in `Worker.queues`."""


def register(session: Session, name: str, *, host: str, queues: Sequence[str], device: dict[str, Any]) -> Worker:
    """Records a worker that starts, replacing an older entry of the same name. models.Worker describes `device`."""
    time = queries.server_now(session)
    return session.merge(
        Worker(name=name, host=host, queues=list(queues), device=device, started_at=time, heartbeat_at=time)
    )


def heartbeat(session: Session, name: str, *, device: dict[str, Any] | None = None) -> bool:
    """Records a heartbeat, and the current `device` if given; returns False if the worker must register again."""
    values = {"heartbeat_at": queries.server_now(session)} | ({} if device is None else {"device": device})
    return queries.execute_update(session, update(Worker).where(Worker.name == name).values(**values)) == 1


def deregister(session: Session, name: str) -> None:
    """Removes a worker that ends normally."""
    session.execute(delete(Worker).where(Worker.name == name))


def alive(session: Session, *, within_s: float) -> list[Worker]:
    """Returns the workers with a heartbeat within the last `within_s` seconds, sorted by name."""
    recent = Worker.heartbeat_at > queries.server_now(session) - timedelta(seconds=within_s)
    return list(session.scalars(select(Worker).where(recent).order_by(Worker.name)))


def remove_silent(session: Session, *, silent_s: float) -> list[str]:
    """Removes the workers without a heartbeat for `silent_s` seconds; returns their names, sorted."""
    silent = Worker.heartbeat_at <= queries.server_now(session) - timedelta(seconds=silent_s)
    return sorted(session.scalars(delete(Worker).where(silent).returning(Worker.name)))


def competing_kinds(session: Session) -> dict[JobKind, frozenset[JobKind]]:
    """Returns for each kind of job the kinds that compete with it for a worker: those that one worker serves beside it.

    All recorded workers count: the sweep removes silent ones. While none is recorded, all kinds compete, as they do on one
    machine. A kind that no recorded worker serves competes with itself only.
    """
    served = [{kind for kind in QUEUES if QUEUES[kind] in queues} for queues in session.scalars(select(Worker.queues))]
    served = served or [set(QUEUES)]
    return {kind: frozenset({kind}.union(*(kinds for kinds in served if kind in kinds))) for kind in QUEUES}
