"""Verification requests: files that a worker checks for whether this service made them.

They are not jobs: they produce nothing, do not wait behind trainings, and are deleted after a day. Like jobs, each is claimed
by one conditional UPDATE that takes a lease, and later writes are fenced by the attempt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Verification, Video
from storage.objects.base import Stored

PREFIX = "verifications/"
"""Prefix of the files' keys in the object store."""
LEASE_S = 300.0
"""Time that a worker has for one file. It gives up a file after 240 s itself (worker/provenance/inspection.py). The other workers
measure it by their own running time; `lease_until` is for operators, and for workers of the previous version."""
RETENTION_S = 86400.0
"""How long a result can be read; a day is enough for a client that polls, and keeps the table small."""
MAX_ATTEMPTS = 3
"""A file that has lost its worker this many times fails: it probably crashes its worker."""
WORKER_LOST = {
    "code": "worker_lost",
    "message": f"The worker process ended {MAX_ATTEMPTS} times while it checked this file.",
    "remedy": "Send the file again; if it happens again, report it with the worker's log.",
}

RunningAttempt: TypeAlias = tuple[str, int]
"""The id of a running request, and its attempt."""

_ENDED = {"lease_until": None, "file_key": None}
_RELEASED = {"state": "queued", "lease_until": None, "max_attempts": Verification.max_attempts + 1}


def create(session: Session, verification_id: str, *, owner: str, file: Stored) -> Verification:
    """Queues a request for a file in the object store. `verification_id` is a new id with the prefix `ver`."""
    row = Verification(
        id=verification_id, owner=owner, file_key=file.key, sha256=file.sha256, max_attempts=MAX_ATTEMPTS
    )
    session.add(row)
    session.flush()
    return row


def running(session: Session) -> list[RunningAttempt]:
    """Returns the attempts that run."""
    query = select(Verification.id, Verification.attempt).where(Verification.state == "running")
    return [(row_id, attempt) for row_id, attempt in session.execute(query)]


def waiting_owners(session: Session, lost: Collection[RunningAttempt] = ()) -> dict[str, str]:
    """Returns the owners of requests that are queued or among the `lost`, each with the id of the oldest one."""
    query = select(Verification.owner, func.min(Verification.id)).where(_waiting(lost)).group_by(Verification.owner)
    return {owner: oldest for owner, oldest in session.execute(query)}


def claim(session: Session, owner: str | None = None, lost: Collection[RunningAttempt] = ()) -> Verification | None:
    """Leases the oldest waiting request (of `owner`) to the caller; None if there is none. Requests without attempts left fail.

    Args:
        lost: Attempts whose workers are lost, which makes their requests wait again.
    """
    time = queries.server_now(session)
    waiting = _waiting(lost)
    exhausted = (waiting, Verification.attempt >= Verification.max_attempts)
    _update(session, *exhausted, state="failed", error=WORKER_LOST, finished_at=time, **_ENDED)
    chosen = (waiting,) if owner is None else (waiting, Verification.owner == owner)
    oldest = select(Verification.id).where(*chosen).order_by(Verification.id).limit(1).with_for_update(skip_locked=True)
    statement = (
        update(Verification)
        .where(Verification.id == oldest.scalar_subquery())
        .values(state="running", attempt=Verification.attempt + 1, lease_until=time + timedelta(seconds=LEASE_S))
        .returning(Verification)
    )
    return session.scalars(statement, execution_options={"synchronize_session": False}).one_or_none()


def succeed(session: Session, row: Verification, findings: Mapping[str, Any], made: Video | None) -> bool:
    """Stores the result of a request.

    Args:
        findings: The result, as api/services/verifications.py presents it.
        made: The video of this service that the file was recognised as, if any.

    Returns:
        False if the request no longer belongs to this attempt.
    """
    values = {"findings": dict(findings), "made_id": made.id if made else None}
    return _end(session, row, state="succeeded", **values)


def fail(session: Session, row: Verification, error: dict[str, str]) -> bool:
    """Ends a request with an `error` (code, message, remedy); returns False if it no longer belongs to this attempt."""
    return _end(session, row, state="failed", error=error)


def release(session: Session, row: Verification) -> bool:
    """Queues a request again; the attempt does not count. Returns False if the request no longer belongs to this attempt."""
    return _update(session, *_fence(row), **_RELEASED) == 1


def release_all(session: Session) -> None:
    """Queues all running requests again, as after a backup was restored: their workers know nothing of it."""
    _update(session, Verification.state == "running", **_RELEASED)


def delete_expired(session: Session) -> int:
    """Deletes some requests that ended RETENTION_S ago; storage/cleanup.py removes files that they named.

    Returns their number, 0 if none is left.
    """
    expired = Verification.finished_at < queries.server_now(session) - timedelta(seconds=RETENTION_S)
    return queries.delete_some(session, Verification, expired)


def _waiting(lost: Collection[RunningAttempt]) -> ColumnElement[bool]:
    is_lost = (
        and_(Verification.state == "running", Verification.id == row_id, Verification.attempt == attempt)
        for row_id, attempt in lost
    )
    return or_(Verification.state == "queued", *is_lost)


def _fence(row: Verification) -> tuple[ColumnElement[bool], ...]:
    return Verification.id == row.id, Verification.attempt == row.attempt, Verification.state == "running"


def _end(session: Session, row: Verification, **values: Any) -> bool:
    return _update(session, *_fence(row), finished_at=queries.server_now(session), **values, **_ENDED) == 1


def _update(session: Session, *where, **values: Any) -> int:
    return queries.execute_update(session, update(Verification).where(*where).values(**values))
