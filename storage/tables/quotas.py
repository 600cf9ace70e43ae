"""Quotas: how much an owner may have and have done; counted from the rows, in the transaction that makes more.

    quota           counted as
    subjects        subjects there are, in whatever state
    queued_jobs     jobs that wait for a worker
    verifications   files of which it was asked whether they were made here, and that was not answered yet
    daily_seconds   seconds of video that were rendered since midnight UTC, whether they were deleted since or not
    stored_bytes    what clients sent (footage, audio, backgrounds, uploads), and what was made of it (datasets, runs,
                    reports, videos); not what comes and goes while a job runs (checkpoints, previews)

`check` comes last in a transaction, after what it is to judge has been written: it takes the lock of the owner's row, so
that of many transactions at once each counts what those before it have made, and one too many is rolled back. The exception
is `daily_seconds`: how long a video becomes is not known before it is rendered, so it refuses new ones once the day's
seconds are used up, and what was queued by then is still rendered.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, get_args

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from storage.database.models import Job, Owner, Subject, Upload, Usage, Verification, Video, now
from storage.errors import QuotaExceeded
from storage.settings import Settings

QuotaName = Literal["subjects", "queued_jobs", "verifications", "daily_seconds", "stored_bytes"]
NAMES: tuple[QuotaName, ...] = get_args(QuotaName)

REMEDIES: dict[QuotaName, str] = {
    "subjects": "Delete subjects that are not needed any more, or ask the operator for more.",
    "queued_jobs": "Wait until some of the jobs have run, or cancel some; or ask the operator for more.",
    "verifications": "Wait until some of the files have been looked at; or ask the operator for more.",
    "daily_seconds": "Wait until midnight UTC, or ask the operator for more.",
    "stored_bytes": "Delete subjects, videos or uploads that are not needed any more, or ask the operator for more.",
}

_INSERT = {"sqlite": sqlite_insert, "postgresql": postgresql_insert}


class Quota(NamedTuple):
    """One quota of an owner: how much is allowed, and how much of it is used."""

    limit: float
    used: float


def default(settings: Settings) -> dict[QuotaName, float]:
    """What an owner may have of whom nothing else was said."""
    return {name: getattr(settings, f"quota_{name}") for name in NAMES}


def limits(session: Session, settings: Settings, owner: str) -> dict[QuotaName, float]:
    """What an owner may have."""
    row = session.get(Owner, owner)
    return default(settings) | (row.quotas if row else {})


def usage(
    session: Session, settings: Settings, owner: str, names: Collection[QuotaName] = NAMES
) -> dict[QuotaName, Quota]:
    """How the owner stands."""
    allowed = limits(session, settings, owner)
    return {name: Quota(allowed[name], _used(session, owner, name)) for name in NAMES if name in names}


def check(session: Session, settings: Settings, owner: str, *names: QuotaName) -> None:
    """Raises QuotaExceeded where the owner has more than is allowed, with what this transaction has made.

    Until it ends, no other transaction gets past this point for this owner.
    """
    _lock(session, owner)
    check_ahead(session, settings, owner, **dict.fromkeys(names, 0))


def check_ahead(session: Session, settings: Settings, owner: str, **more: float) -> None:
    """Raises QuotaExceeded where the owner would have too much with so much `more`, by quota. Locks nothing.

    So a request can be refused before its large file is sent; what counts in the end is `check`.
    """
    for name, quota in usage(session, settings, owner, more.keys()).items():
        if quota.used >= quota.limit if name == "daily_seconds" else quota.used + more[name] > quota.limit:
            raise QuotaExceeded(name, quota.limit, REMEDIES[name])


def set_overrides(session: Session, owner: str, quotas: Mapping[QuotaName, float | None]) -> None:
    """Sets quotas of an owner that differ from those of the settings; None: as the settings say."""
    row = _lock(session, owner)
    row.quotas = {name: limit for name, limit in {**row.quotas, **quotas}.items() if limit is not None}
    session.flush()


def add_rendered_seconds(session: Session, owner: str, seconds: float) -> None:
    """Notes that so many seconds of video were rendered today."""
    statement = _INSERT[session.get_bind().dialect.name](Usage).values(owner=owner, day=_day(), seconds=seconds)
    more = {"seconds": Usage.seconds + statement.excluded.seconds}
    session.execute(statement.on_conflict_do_update(index_elements=["owner", "day"], set_=more))


def _lock(session: Session, owner: str) -> Owner:
    insert = _INSERT[session.get_bind().dialect.name]
    session.execute(insert(Owner).values(name=owner, quotas={}, created_at=now()).on_conflict_do_nothing())
    mine = select(Owner).where(Owner.name == owner).with_for_update()
    return session.scalars(mine, execution_options={"populate_existing": True}).one()


def _used(session: Session, owner: str, name: QuotaName) -> float:
    if name == "subjects":
        query = select(func.count()).select_from(Subject).where(Subject.owner == owner)
    elif name == "queued_jobs":
        query = select(func.count()).select_from(Job).where(Job.owner == owner, Job.state == "queued")
    elif name == "verifications":
        mine = Verification.owner == owner, Verification.state.in_(("queued", "running"))
        query = select(func.count()).select_from(Verification).where(*mine)
    elif name == "daily_seconds":
        query = select(func.coalesce(func.sum(Usage.seconds), 0.0)).where(Usage.owner == owner, Usage.day == _day())
    else:
        return sum(
            session.scalars(select(func.coalesce(func.sum(column), 0)).where(*where)).one()
            for column, where in (
                (Subject.stored_bytes, [Subject.owner == owner]),
                (Video.stored_bytes, [Video.owner == owner]),
                (Upload.received, [Upload.owner == owner, Upload.used_by.is_(None)]),
            )
        )
    return session.scalars(query).one()


def _day() -> str:
    return now().date().isoformat()
