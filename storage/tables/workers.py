"""Workers, as they tell of themselves: the only writer of the table. A worker is judged by its heartbeat here.

What a worker holds is decided by the leases of jobs (storage/tables/jobs.py), never by these rows: they are for people, for
`/readyz` and for figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.database.models import Worker, now


def register(session: Session, name: str, *, host: str, queues: Sequence[str], device: dict[str, Any]) -> Worker:
    """A worker that starts. `device`: `name`, and for a GPU `memory_bytes`."""
    return session.merge(
        Worker(name=name, host=host, queues=list(queues), device=device, started_at=now(), heartbeat_at=now())
    )


def heartbeat(session: Session, name: str, *, device: dict[str, Any] | None = None) -> bool:
    """The worker is alive; its `device` as it is now, where given. False: it was buried, and has to enter again."""
    values = {"heartbeat_at": now()} | ({} if device is None else {"device": device})
    statement = update(Worker).where(Worker.name == name).values(**values)
    return session.execute(statement, execution_options={"synchronize_session": False}).rowcount == 1


def deregister(session: Session, name: str) -> None:
    """The worker ends in good order."""
    session.execute(delete(Worker).where(Worker.name == name))


def alive(session: Session, *, within_s: float) -> list[Worker]:
    """The workers that were heard of within so many seconds, by name."""
    recent = Worker.heartbeat_at > now() - timedelta(seconds=within_s)
    return list(session.scalars(select(Worker).where(recent).order_by(Worker.name)))


def remove_silent(session: Session, *, silent_s: float) -> list[str]:
    """Removes the workers that were not heard of for so many seconds; returns their names."""
    silent = Worker.heartbeat_at <= now() - timedelta(seconds=silent_s)
    return sorted(session.scalars(delete(Worker).where(silent).returning(Worker.name)))
