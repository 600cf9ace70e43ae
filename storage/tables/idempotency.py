"""Stored responses, so that a request that is sent twice is carried out once.

A client gives a request an idempotency key. The response is stored under that key in the transaction of the request itself:
either both are durable or neither is. Two transactions that store a response under one key cannot both commit, so a repeated
request is recognised by this row, without a lock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import StoredResponse, now

RETENTION_S = 24 * 3600.0
"""How long a response is stored. docs/api.md promises 24 hours, which is longer than clients retry."""


@dataclass(frozen=True)
class IdempotencyKey:
    """Identifies a request: its owner, its route, and the key that the client chose."""

    owner: str
    route: str
    key: str

    @property
    def columns(self) -> dict[str, str]:
        """The row's primary key. It holds a digest of the client's key, which may be long or confidential."""
        return {"owner": self.owner, "route": self.route, "key": sha256(self.key.encode()).hexdigest()}


def find(session: Session, key: IdempotencyKey) -> StoredResponse | None:
    """Returns the response that is stored under `key` and has not expired."""
    fresh = StoredResponse.created_at > _expiry()
    return session.scalars(select(StoredResponse).filter_by(**key.columns).where(fresh)).one_or_none()


def store(
    session: Session, key: IdempotencyKey, *, fingerprint: str, status: int, headers: dict[str, str], body: str | None
) -> bool:
    """Stores a response, replacing an expired one. Waits for another transaction that is storing one under the same key.

    Returns:
        False if another transaction has stored a response already.
    """
    response = {"fingerprint": fingerprint, "status": status, "headers": headers, "body": body, "created_at": now()}
    expired = StoredResponse.created_at <= _expiry()
    return queries.upsert(session, StoredResponse, key.columns | response, update=response, where=expired)


def replace(
    session: Session, key: IdempotencyKey, *, fingerprint: str, status: int, headers: dict[str, str], body: str | None
) -> None:
    """Replaces the response that this request has stored before."""
    mine = update(StoredResponse).filter_by(**key.columns).where(StoredResponse.fingerprint == fingerprint)
    session.execute(mine.values(status=status, headers=headers, body=body))


def erase_naming(session: Session, resource_id: str, *, owner: str) -> int:
    """Erases the responses of an owner that name a deleted resource; returns their number.

    Key and fingerprint stay until they expire, so that a request that is sent again does not create the resource again.
    """
    named = StoredResponse.owner == owner, StoredResponse.body.contains(resource_id, autoescape=True)
    return queries.execute_update(session, update(StoredResponse).where(*named).values(body=None, headers={}))


def was_erased(response: StoredResponse) -> bool:
    """Returns whether `erase_naming` has erased the response. One that held a secret still has its headers."""
    return response.body is None and not response.headers


def delete_expired(session: Session) -> int:
    """Deletes the responses that are older than RETENTION_S; returns their number."""
    return queries.execute_update(session, delete(StoredResponse).where(StoredResponse.created_at <= _expiry()))


def _expiry() -> datetime:
    """Responses that were created at this time or earlier have expired."""
    return now() - timedelta(seconds=RETENTION_S)
