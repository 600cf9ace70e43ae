"""Verifications: files of which somebody asks whether they were made here. A worker claims each, looks, and answers.

They are no jobs: nothing is made, nobody waits in a queue behind trainings, and a day later nothing is left of them. As with
jobs, a claim is one conditional UPDATE that takes a lease, and later writes are fenced by the attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from storage.database.models import Verification, Video, now
from storage.objects.base import Stored

PREFIX = "verifications/"
"""Of the keys of the files."""
LEASE_S = 300.0
"""How long a worker may take; one that takes longer is gone."""
KEPT_S = 86400.0
"""How long an answer can be read."""
MAX_ATTEMPTS = 3
LOST = {
    "code": "worker_lost",
    "message": f"The worker process ended {MAX_ATTEMPTS} times while it looked at this file.",
    "remedy": "Send the file again; if it happens again, report it with the worker's log.",
}

_OVER = {"lease_until": None, "file_key": None}


def create(session: Session, verification_id: str, *, owner: str, file: Stored) -> Verification:
    """A new one, for a file that is in the store. `verification_id` is a new `ver_` id."""
    row = Verification(id=verification_id, owner=owner, file_key=file.key, sha256=file.sha256)
    session.add(row)
    session.flush()
    return row


def waiting(session: Session) -> bool:
    """Whether there is any that nobody looks at."""
    return session.scalars(select(Verification.id).where(_free()).limit(1)).first() is not None


def claim(session: Session) -> Verification | None:
    """The oldest one that nobody looks at, leased to the caller; None if there is none. Those given up fail on the way."""
    moment = now()
    free = _free()
    lost = (free, Verification.attempt >= MAX_ATTEMPTS)
    _update(session, *lost, state="failed", error=LOST, finished_at=moment, **_OVER)
    oldest = select(Verification.id).where(free).order_by(Verification.id).limit(1).with_for_update(skip_locked=True)
    statement = (
        update(Verification)
        .where(Verification.id == oldest.scalar_subquery())
        .values(state="running", attempt=Verification.attempt + 1, lease_until=moment + timedelta(seconds=LEASE_S))
        .returning(Verification)
    )
    return session.scalars(statement, execution_options={"synchronize_session": False}).one_or_none()


def succeed(session: Session, row: Verification, findings: Mapping[str, Any], made: Video | None) -> bool:
    """Its answer: what was found, and the video of ours that it is. False: it is not this attempt's any more."""
    values = {"findings": dict(findings), "made_id": made.id if made else None}
    return _end(session, row, state="succeeded", **values)


def fail(session: Session, row: Verification, error: dict[str, str]) -> bool:
    """The file could not be looked at, for the reason `error` (code, message, remedy). False: as for `succeed`."""
    return _end(session, row, state="failed", error=error)


def forget_old(session: Session) -> None:
    """Removes those whose time is over; a file that one still named is the janitor's then."""
    old = Verification.created_at < now() - timedelta(seconds=KEPT_S)
    session.execute(delete(Verification).where(old), execution_options={"synchronize_session": False})


def _free() -> ColumnElement[bool]:
    gone = and_(Verification.state == "running", Verification.lease_until < now())
    return or_(Verification.state == "queued", gone)


def _end(session: Session, row: Verification, **values: Any) -> bool:
    mine = Verification.id == row.id, Verification.attempt == row.attempt, Verification.state == "running"
    return _update(session, *mine, finished_at=now(), **values, **_OVER) == 1


def _update(session: Session, *where, **values: Any) -> int:
    statement = update(Verification).where(*where).values(**values)
    return session.execute(statement, execution_options={"synchronize_session": False}).rowcount
