"""Quotas: limits on the resources of an owner and on the work done for an owner, counted from the rows themselves.

    quota           counts
    subjects        existing subjects, in any state
    videos          existing videos, in any state, also in the trash: what bounds their rows
    queued_jobs     jobs that wait for a worker
    verifications   verification requests that are pending
    daily_seconds   seconds of video rendered since midnight UTC, including videos that were deleted since
    stored_bytes    files and texts from clients (footage, audio, backgrounds, uploads, scripts) and results (datasets, runs, reports, videos);
                    not the temporary files of a running job (checkpoints, previews)

`check` is the last step of a transaction, after the rows that it counts were written. It locks the owner's row, so that
concurrent transactions of one owner count one after the other, and the one that exceeds a quota is rolled back. The exception
is `daily_seconds`: the duration of a video that speaks is not known before it is rendered, so new videos are refused once the
day's seconds are used up, and the queued ones are still rendered. A video without speech is refused if it is longer than what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple, get_args

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Job, Owner, Subject, Upload, Usage, Verification, Video, now
from storage.errors import QuotaExceeded
from storage.settings import Settings

QuotaName = Literal["subjects", "videos", "queued_jobs", "verifications", "daily_seconds", "stored_bytes"]
NAMES: tuple[QuotaName, ...] = get_args(QuotaName)

REMEDIES: dict[QuotaName, str] = {
    "subjects": "Delete subjects that you no longer need, or ask the operator for a higher quota.",
    "videos": "Delete videos that you no longer need, or ask the operator for a higher quota.",
    "queued_jobs": "Wait until some of the jobs have run, cancel some, or ask the operator for a higher quota.",
    "verifications": "Wait until some of the files have been checked, or ask the operator for a higher quota.",
    "daily_seconds": "Wait until midnight UTC, or ask the operator for a higher quota.",
    "stored_bytes": "Delete subjects, videos or uploads that you no longer need, or ask the operator for a higher quota.",
}
"""What a client can do when a quota is exceeded."""


class Quota(NamedTuple):
    """One quota of an owner: its limit, and the amount in use."""

    limit: float
    used: float


def default(settings: Settings) -> dict[QuotaName, float]:
    """Returns the limits from the settings, which hold for owners without limits of their own."""
    return {name: getattr(settings, f"quota_{name}") for name in NAMES}


def limits(session: Session, settings: Settings, owner: str) -> dict[QuotaName, float]:
    """Returns the limits of an owner: those of the settings, replaced by the owner's overrides."""
    row = session.get(Owner, owner)
    return default(settings) | (row.quotas if row else {})


def usage(
    session: Session, settings: Settings, owner: str, names: Collection[QuotaName] = NAMES
) -> dict[QuotaName, Quota]:
    """Returns limits and amounts in use of an owner's quotas, or only of those in `names`."""
    allowed = limits(session, settings, owner)
    return {name: Quota(allowed[name], _used(session, owner, name)) for name in NAMES if name in names}


def check(session: Session, settings: Settings, owner: str, *names: QuotaName, **more: float) -> None:
    """Checks quotas of an owner, including the rows that this transaction has written, and `more` (amounts by quota).

    Until this transaction ends, other transactions of the same owner wait here.

    Raises:
        QuotaExceeded: a limit is exceeded.
    """
    lock_owner(session, owner)
    check_ahead(session, settings, owner, **dict.fromkeys(names, 0), **more)


def check_ahead(session: Session, settings: Settings, owner: str, **more: float) -> None:
    """Checks whether an owner may use `more` (amounts by quota), without a lock.

    This refuses a request before its large file is received. `check` makes the final decision.

    Raises:
        QuotaExceeded: a limit would be exceeded.
    """
    for name, quota in usage(session, settings, owner, more.keys()).items():
        used_up = name == "daily_seconds" and quota.used >= quota.limit
        if used_up or quota.used + more[name] > quota.limit:
            raise QuotaExceeded(name, quota.limit, REMEDIES[name])


def lock_owner(session: Session, owner: str) -> Owner:
    """Locks the owner's row until the transaction ends; creates the row if there is none.

    Whoever counts rows of an owner before adding one calls this first: transactions of one owner then count one after the
    other. On SQLite the writing transaction itself is that lock.
    """
    queries.insert_ignoring_conflicts(session, Owner, name=owner, quotas={}, created_at=now())
    query = select(Owner).where(Owner.name == owner).with_for_update()
    return session.scalars(query, execution_options={"populate_existing": True}).one()


def set_overrides(session: Session, owner: str, quotas: Mapping[QuotaName, float | None]) -> None:
    """Sets limits of an owner that replace those of the settings; None returns to the limit of the settings."""
    row = lock_owner(session, owner)
    row.quotas = {name: limit for name, limit in {**row.quotas, **quotas}.items() if limit is not None}
    session.flush()


def add_rendered_seconds(session: Session, owner: str, seconds: float) -> None:
    """Adds rendered seconds of video to the owner's usage of the current day."""
    update = {"seconds": Usage.seconds + seconds}
    queries.upsert(session, Usage, {"owner": owner, "day": _today(), "seconds": seconds}, update=update)


def _used(session: Session, owner: str, name: QuotaName) -> float:
    if name == "subjects":
        query = select(func.count()).select_from(Subject).where(Subject.owner == owner)
    elif name == "videos":
        query = select(func.count()).select_from(Video).where(Video.owner == owner)
    elif name == "queued_jobs":
        query = select(func.count()).select_from(Job).where(Job.owner == owner, Job.state == "queued")
    elif name == "verifications":
        pending = Verification.owner == owner, Verification.state.in_(("queued", "running"))
        query = select(func.count()).select_from(Verification).where(*pending)
    elif name == "daily_seconds":
        query = select(func.coalesce(func.sum(Usage.seconds), 0.0)).where(Usage.owner == owner, Usage.day == _today())
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


def _today() -> str:
    return now().date().isoformat()
