"""Answers that are kept, so that a request which is sent again is not carried out again.

A client gives a request a key of its own choice. The answer is kept under that key in the transaction of what the request
did: either both are durable or neither is. Two transactions that keep an answer under one key cannot both commit, so it is
this row, and no lock, that makes one request of many.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from storage.database.models import Answer, now

KEPT_S = 24 * 3600.0
"""How long an answer is kept."""

_INSERT = {"sqlite": sqlite_insert, "postgresql": postgresql_insert}


@dataclass(frozen=True)
class IdempotencyKey:
    """Where an answer is kept: whose request it was, to which route, under which key of the client's."""

    owner: str
    route: str
    key: str

    @property
    def columns(self) -> dict[str, str]:
        """The row's primary key. Of the client's key only a digest is kept: it may be long, or mean something."""
        return {"owner": self.owner, "route": self.route, "key": sha256(self.key.encode()).hexdigest()}


def find(session: Session, slot: IdempotencyKey) -> Answer | None:
    """The answer that is kept there."""
    return session.scalars(select(Answer).filter_by(**slot.columns).where(Answer.created_at > _oldest())).one_or_none()


def store(
    session: Session, slot: IdempotencyKey, *, fingerprint: str, status: int, headers: dict[str, str], body: str | None
) -> bool:
    """Keeps an answer with the transaction of `session`. False: there is one already, which another transaction kept.

    Waits for a transaction that is about to keep one there.
    """
    values = {"fingerprint": fingerprint, "status": status, "headers": headers, "body": body, "created_at": now()}
    statement = _INSERT[session.get_bind().dialect.name](Answer).values(**slot.columns, **values)
    statement = statement.on_conflict_do_update(
        index_elements=list(slot.columns), set_=values, where=Answer.created_at <= _oldest()
    )
    return session.scalars(statement.returning(Answer.key)).one_or_none() is not None


def replace(
    session: Session, slot: IdempotencyKey, *, fingerprint: str, status: int, headers: dict[str, str], body: str | None
) -> None:
    """Keeps another answer in the place of the one that this request has kept there."""
    mine = update(Answer).filter_by(**slot.columns).where(Answer.fingerprint == fingerprint)
    session.execute(mine.values(status=status, headers=headers, body=body))


def delete_expired(session: Session) -> int:
    """Removes the answers that have been kept for long enough; returns how many."""
    return session.execute(delete(Answer).where(Answer.created_at <= _oldest())).rowcount


def _oldest():
    return now() - timedelta(seconds=KEPT_S)
