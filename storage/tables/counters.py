"""Tallies: counts and times that only grow, kept in the database so that they outlive the processes that they are of.

    name     label                     counted
    move     claim, succeed, ...       when a job's state changes (storage/tables/jobs.py)
    stage    track, head, render, ...  when a worker has finished a stage of a job; `seconds` is the time that it took
    delivery delivered, failed, ...    when an attempt at telling a webhook has ended; the kind is `webhook`

There is one row for each name, kind of job and label: a few dozen, however many jobs there were.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from storage.database.engine import before_commit
from storage.database.models import JobKind, Tally

MOVE, STAGE, DELIVERY = "move", "stage", "delivery"

Kind = JobKind | Literal["webhook"]

_INSERT = {"sqlite": sqlite_insert, "postgresql": postgresql_insert}


class Count(NamedTuple):
    """One row: how often, and for how many seconds together."""

    name: str
    kind: Kind
    label: str
    count: int
    seconds: float


def add(session: Session, name: str, kind: Kind, label: str, seconds: float = 0.0) -> None:
    """Counts one more, with the transaction of `session` (one of Database.session).

    Written as the last thing before the commit and in one order, so that the few rows which everybody writes are locked
    for a moment only, and transactions cannot wait for each other in a circle.
    """
    pending: dict[tuple[str, str, str], list[float]] | None = session.info.get("tallies")
    if pending is None:
        pending = session.info["tallies"] = {}
        before_commit(session, lambda: _write(session, pending))
    pending.setdefault((name, kind, label), []).append(seconds)


def all_counts(session: Session) -> list[Count]:
    """All tallies, in a fixed order."""
    columns = (Tally.name, Tally.kind, Tally.label, Tally.count, Tally.seconds)
    return [Count(*row) for row in session.execute(select(*columns).order_by(*columns[:3]))]


def _write(session: Session, pending: dict[tuple[str, str, str], list[float]]) -> None:
    insert = _INSERT[session.get_bind().dialect.name]
    for (name, kind, label), times in sorted(pending.items()):
        more = {"count": Tally.count + len(times), "seconds": Tally.seconds + sum(times)}
        here = (Tally.name == name, Tally.kind == kind, Tally.label == label)
        statement = update(Tally).where(*here).values(more)
        if session.execute(statement, execution_options={"synchronize_session": False}).rowcount == 0:
            first = insert(Tally).values(name=name, kind=kind, label=label, count=len(times), seconds=sum(times))
            session.execute(first.on_conflict_do_update(index_elements=["name", "kind", "label"], set_=more))
