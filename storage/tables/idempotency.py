"""Stored responses, so that a request that is sent twice is carried out once.

A client gives a request an idempotency key. The response is stored under that key in the transaction of the request itself:
either both are durable or neither is. The ids of the resources that its body names are stored beside it, so that their deletion
finds it by an index. Two transactions that store a response under one key cannot both commit, so a repeated
request is recognised by this row, without a lock.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete, func, insert, select, text, tuple_, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import LARGE, LARGE_CHARS, ResponseResource, StoredResponse

RETENTION_S = 24 * 3600.0
"""How long a response is stored. docs/api.md promises 24 hours, which is longer than clients retry."""

NAMED = re.compile(r'(?<=["_]id)":\s*"((?:sub|upl|vid|whk)_[0-9a-f]{1,36})"')
"""An id of a resource whose deletion erases the responses that name it, in a field that the service writes (`id`, `subject_id`).
Texts of users do not match: their quotes are escaped."""

MAX_LARGE = 500
"""Large responses (models.LARGE) of one owner that are stored with their bodies: batches, whose answers have up to some hundred
kilobytes. Of further ones only status and headers are stored, so that nobody fills the database with them."""
MAX_STORED = 50_000
"""Responses of one owner that are stored; beyond them, the oldest are deleted before RETENTION_S. Whoever sends as many as the rate allows
has three quarters of an hour to repeat a request, far longer than clients retry; with MAX_LARGE, an owner's take a gigabyte at most."""
FORGET_EVERY = 50
"""Requests after which, on average, an owner's oldest responses are deleted: to find them, MAX_STORED entries of an index are read."""


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
    fresh = StoredResponse.created_at > _expiry(session)
    return session.scalars(select(StoredResponse).filter_by(**key.columns).where(fresh)).one_or_none()


def store(
    session: Session, key: IdempotencyKey, *, fingerprint: str, status: int, headers: dict[str, str], body: str | None
) -> bool:
    """Stores a response, replacing an expired one. Waits for another transaction that is storing one under the same key.

    Returns:
        False if another transaction has stored a response already.
    """
    body = _within_bounds(session, key, body)
    response = {"fingerprint": fingerprint, "status": status, "headers": headers, "body": body}
    response["created_at"] = queries.server_now(session)
    expired = StoredResponse.created_at <= _expiry(session)
    stored = queries.upsert(session, StoredResponse, key.columns | response, update=response, where=expired)
    if stored:
        _store_named(session, key, body)
        if random.randrange(FORGET_EVERY) == 0:
            _delete_excess(session, key.owner)
    return stored


def replace(
    session: Session, key: IdempotencyKey, *, fingerprint: str, status: int, headers: dict[str, str], body: str | None
) -> None:
    """Replaces the response that this request has stored before."""
    body = _within_bounds(session, key, body)
    mine = update(StoredResponse).filter_by(**key.columns).where(StoredResponse.fingerprint == fingerprint)
    session.execute(mine.values(status=status, headers=headers, body=body))
    _store_named(session, key, body)


def erase_naming(session: Session, *resource_ids: str, owner: str) -> int:
    """Erases the responses of an owner that name deleted resources; returns their number.

    Key and fingerprint stay until they expire, so that a request that is sent again does not create the resource again.
    """
    columns = [(table.owner, table.route, table.key) for table in (StoredResponse, ResponseResource)]
    naming = select(*columns[1]).where(ResponseResource.resource_id.in_(resource_ids), ResponseResource.owner == owner)
    named = tuple_(*columns[0]).in_(naming), StoredResponse.body.is_not(None)
    return queries.execute_update(session, update(StoredResponse).where(*named).values(body=None, headers={}))


def was_erased(response: StoredResponse) -> bool:
    """Returns whether `erase_naming` has erased the response. One that held a secret still has its headers."""
    return response.body is None and not response.headers


def delete_expired(session: Session) -> int:
    """Deletes some of the responses that are older than RETENTION_S; returns their number, 0 if none is left."""
    return queries.delete_some(session, StoredResponse, StoredResponse.created_at <= _expiry(session))


def _store_named(session: Session, key: IdempotencyKey, body: str | None) -> None:
    """Stores which resources the response under `key` names, in place of those that an earlier one named."""
    session.execute(delete(ResponseResource).filter_by(**key.columns))
    named = set(NAMED.findall(body or ""))
    if named:
        session.execute(insert(ResponseResource), [key.columns | {"resource_id": each} for each in sorted(named)])


def _within_bounds(session: Session, key: IdempotencyKey, body: str | None) -> str | None:
    """Returns the body to store: None for a large one if the owner has MAX_LARGE of these."""
    if body is None or len(body) <= LARGE_CHARS:
        return body
    large = select(func.count()).select_from(StoredResponse).where(StoredResponse.owner == key.owner, text(LARGE))
    return body if session.scalars(large).one() < MAX_LARGE else None


def _delete_excess(session: Session, owner: str) -> None:
    """Deletes the oldest responses of an owner beyond MAX_STORED."""
    newest = select(StoredResponse.created_at).where(StoredResponse.owner == owner)
    last = session.scalars(newest.order_by(StoredResponse.created_at.desc()).offset(MAX_STORED).limit(1)).first()
    if last is not None:
        queries.delete_some(session, StoredResponse, StoredResponse.owner == owner, StoredResponse.created_at <= last)


def _expiry(session: Session) -> datetime:
    """Responses that were created at this time or earlier, by the database server's clock, have expired."""
    return queries.server_now(session) - timedelta(seconds=RETENTION_S)
