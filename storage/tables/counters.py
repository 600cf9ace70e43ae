"""Monotonic counters and timers, stored in the database so that they survive restarts.

    name     label                     incremented
    move     claim, succeed, ...       when the state of a job changes (storage/tables/jobs.py)
    stage    track, head, render, ...  when a worker has finished a stage of a job; `seconds` is the duration of the stage
    delivery delivered, failed, ...    when a delivery attempt to a webhook has ended; the kind is `webhook`

There is one row per name, kind of job and label: a few dozen rows, regardless of the number of jobs.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.engine import before_commit, hooks_of
from storage.database.models import Counter, JobKind

MOVE, STAGE, DELIVERY = "move", "stage", "delivery"

Kind = JobKind | Literal["webhook"]


class Count(NamedTuple):
    """One counter: the number of events, and their total duration in seconds."""

    name: str
    kind: Kind
    label: str
    count: int
    seconds: float


def add(session: Session, name: str, kind: Kind, label: str, seconds: float = 0.0) -> None:
    """Increments a counter by one event of `seconds` duration, as part of the transaction of `session`.

    The rows are written just before the commit and in a fixed order. All transactions write the same few rows: this way they
    are locked only briefly, and two transactions cannot deadlock.
    """
    pending = hooks_of(session).pending_counts
    if not pending:
        before_commit(session, lambda: _write(session, pending))
    pending.setdefault((name, kind, label), []).append(seconds)


def all_counts(session: Session) -> list[Count]:
    """Returns all counters, ordered by name, kind and label."""
    columns = (Counter.name, Counter.kind, Counter.label, Counter.count, Counter.seconds)
    return [Count(*row) for row in session.execute(select(*columns).order_by(*columns[:3]))]


def _write(session: Session, pending: dict[tuple[str, str, str], list[float]]) -> None:
    for (name, kind, label), times in sorted(pending.items()):
        count, seconds = len(times), sum(times)
        queries.upsert(
            session,
            Counter,
            {"name": name, "kind": kind, "label": label, "count": count, "seconds": seconds},
            update={"count": Counter.count + count, "seconds": Counter.seconds + seconds},
        )
