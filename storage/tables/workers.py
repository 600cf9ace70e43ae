"""Worker processes and their heartbeats, and the only writer of the workers table.

The table is for people, `/readyz` and metrics. It decides nothing about jobs: their leases do (storage/tables/jobs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Worker, now


def register(session: Session, name: str, *, host: str, queues: Sequence[str], device: dict[str, Any]) -> Worker:
    """Records a worker that starts, replacing an older entry of the same name. models.Worker describes `device`."""
    return session.merge(
        Worker(name=name, host=host, queues=list(queues), device=device, started_at=now(), heartbeat_at=now())
    )


def heartbeat(session: Session, name: str, *, device: dict[str, Any] | None = None) -> bool:
    """Records a heartbeat, and the current `device` if given; returns False if the worker must register again."""
    values = {"heartbeat_at": now()} | ({} if device is None else {"device": device})
    return queries.execute_update(session, update(Worker).where(Worker.name == name).values(**values)) == 1


def deregister(session: Session, name: str) -> None:
    """Removes a worker that ends normally."""
    session.execute(delete(Worker).where(Worker.name == name))


def alive(session: Session, *, within_s: float) -> list[Worker]:
    """Returns the workers with a heartbeat within the last `within_s` seconds, sorted by name."""
    recent = Worker.heartbeat_at > now() - timedelta(seconds=within_s)
    return list(session.scalars(select(Worker).where(recent).order_by(Worker.name)))


def remove_silent(session: Session, *, silent_s: float) -> list[str]:
    """Removes the workers without a heartbeat for `silent_s` seconds; returns their names, sorted."""
    silent = Worker.heartbeat_at <= now() - timedelta(seconds=silent_s)
    return sorted(session.scalars(delete(Worker).where(silent).returning(Worker.name)))
