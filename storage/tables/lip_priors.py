"""Priors of lips, and the only writer of their table.

A row is made when an operator asks for a prior, and is the order of its work: a worker claims it by one conditional UPDATE that takes a
lease, and later writes are fenced by the attempt. It ends as adopted (better than the shipped one), rejected or failed.

A prior is learnt from subjects of all owners whose consent allows it. When one of them revokes that, withdraws the consent or is
deleted, no training starts from the prior any more: `current` looks at the subjects each time. `enforce` then deletes the prior, and orders
one without that subject. While a subject is in the trash, no training starts from the prior either; if it is restored, trainings do again.

A prior that no training starts from any more can be chosen again for as long as the trash keeps things; then `expire` deletes it and its row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, not_, or_, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import LipPrior, Subject, now
from storage.errors import LipPriorRefused
from storage.objects.base import ObjectStore, Stored
from storage.tables import deletions

PREFIX = "lip_priors/"
"""Prefix of the priors' keys in the object store."""
MIN_PEOPLE = 2
"""Fewest people that a prior is learnt from: each is left out once, to measure what the others give (adnerf_core/training/lip_prior.py)."""
MAX_PEOPLE = 100
"""Most people that a prior is learnt from; of more, the latest are taken. Each takes some 10 MB of memory and 20 MB of scratch of a worker
that may be training at the same time."""
LEASE_S = 120.0
"""Time after which a worker that has reported no progress counts as lost; one step of the work takes seconds."""
MAX_ATTEMPTS = 3
"""A prior that has lost its worker this many times fails: it probably crashes its worker."""
WORKER_LOST = {
    "code": "worker_lost",
    "message": f"The worker process ended {MAX_ATTEMPTS} times while it learnt this prior.",
    "remedy": "Look into the worker's log (often it ran out of memory), and learn again.",
}
MAX_LOSS = 0.01
"""Correlation that a new prior may lose against the one in use: as much as two pretrainings on the same speech differ by chance
(docs/fidelity.md)."""
WAITING = ("queued", "running")
ENDED = ("adopted", "rejected")
"""States of priors that were learnt; their rows name the people."""
SHIPPED = 0
"""The version that names the prior which comes with the program."""

_MAY_IMPROVE = (Subject.may_improve_others, Subject.withdrawn_at.is_(None), Subject.deleted_at.is_(None))


def sources(session: Session) -> dict[str, str]:
    """Returns the keys of the datasets that a prior may be learnt from now, by subject, oldest first: those of the latest MAX_PEOPLE.

    Of several subjects with the same footage, the oldest alone is taken: a person who is left out for measuring must not be learnt from as
    another subject.
    """
    there = Subject.dataset_key.is_not(None), Subject.trashed_until.is_(None)
    query = select(Subject.id, Subject.dataset_key, Subject.footage_sha256).where(*_MAY_IMPROVE, *there)
    found: dict[str, str] = {}
    footage = set()
    for subject_id, key, sha256 in session.execute(query.order_by(Subject.id)):
        if sha256 not in footage:
            found[subject_id] = key
        if sha256 is not None:  # a subject of an earlier version
            footage.add(sha256)
    return dict(list(found.items())[-MAX_PEOPLE:])


def request(session: Session) -> tuple[LipPrior, bool]:
    """Orders a prior of all subjects that may be learnt from.

    Returns:
        The row and True; or False, with the row of a prior that is being learnt, or was learnt from the same subjects.

    Raises:
        LipPriorRefused: there are too few subjects.
    """
    people = sources(session)
    if len(people) < MIN_PEOPLE:
        raise LipPriorRefused(
            f"{len(people)} subjects may improve the lips of others, and {MIN_PEOPLE} are needed.",
            "Ask people for it, and set `may_improve_others` of their subjects (docs/operations.md).",
        )
    ended = select(LipPrior).where(LipPrior.state.in_(ENDED)).order_by(LipPrior.version.desc()).limit(1)
    last = session.scalars(ended).one_or_none()
    if last is not None and last.people.keys() == people.keys() and _pending(session) is None:
        return last, False
    return _order(session)


def claim(session: Session) -> LipPrior | None:
    """Leases the oldest ordered prior to the caller; None if there is none. One whose workers were lost too often fails."""
    time = queries.server_now(session)
    waiting = or_(LipPrior.state == "queued", and_(LipPrior.state == "running", LipPrior.lease_until < time))
    _update(session, waiting, LipPrior.attempt >= MAX_ATTEMPTS, state="failed", error=WORKER_LOST, finished_at=time)
    oldest = select(LipPrior.version).where(waiting).order_by(LipPrior.version).limit(1)
    statement = (
        update(LipPrior)
        .where(LipPrior.version == oldest.with_for_update(skip_locked=True).scalar_subquery())
        .values(state="running", attempt=LipPrior.attempt + 1, lease_until=time + timedelta(seconds=LEASE_S))
        .returning(LipPrior)
    )
    return session.scalars(statement, execution_options={"synchronize_session": False}).one_or_none()


def renew(session: Session, row: LipPrior) -> bool:
    """Renews the lease; returns False if the prior no longer belongs to this attempt, as after `drop`."""
    until = queries.server_now(session) + timedelta(seconds=LEASE_S)
    return _update(session, *_fence(row), lease_until=until) == 1


def release(session: Session, row: LipPrior) -> None:
    """Queues a prior again whose work was interrupted by something else, such as the end of its worker; the attempt does not count."""
    _update(session, *_fence(row), state="queued", attempt=LipPrior.attempt - 1)


def adopt(session: Session, row: LipPrior, people: dict[str, Any], figures: dict[str, Any], file: Stored) -> bool:
    """Ends a prior as adopted: trainings start from it from now on.

    Returns:
        False if the prior no longer belongs to this attempt, or one of the people must not be learnt from any more: then it is put back.
    """
    if not in_force(session, people):
        release(session, row)
        return False
    values = {"people": people, "figures": figures, "object_key": file.key, "sha256": file.sha256}
    if not _end(session, row, "adopted", **values):
        return False
    _choose(session, row.version)
    return True


def reject(session: Session, row: LipPrior, people: dict[str, Any], figures: dict[str, Any]) -> bool:
    """Ends a prior that is no better than the shipped one, or falls behind the one in use. The row keeps its figures; its file is not stored.

    Returns whether it belonged to this attempt.
    """
    return _end(session, row, "rejected", people=people, figures=figures)


def fail(session: Session, row: LipPrior, error: dict[str, str]) -> bool:
    """Ends a prior with an `error` (code, message, remedy). Returns whether it belonged to this attempt."""
    return _end(session, row, "failed", error=error)


def chosen(session: Session) -> LipPrior | None:
    """Returns the prior that was chosen, whether it may be used now or not; None for the shipped one."""
    # The latest: two transactions that choose at the same time do not see each other's choice.
    query = select(LipPrior).where(LipPrior.current).order_by(LipPrior.version.desc()).limit(1)
    return session.scalars(query).one_or_none()


def current(session: Session) -> LipPrior | None:
    """Returns the prior that trainings start from; None for the shipped one, also while one of the people is in the trash."""
    row = chosen(session)
    return row if row is not None and in_force(session, row.people, Subject.trashed_until.is_(None)) else None


def falls_behind(session: Session, people: Mapping[str, Any]) -> bool:
    """Returns whether a prior with these figures follows people worse than the one in use, such as because of bad footage of a new one.

    The people of both are compared: each was left out where the figure was measured.
    """
    row = current(session)
    losses = [
        row.people[each]["after"]["correlation"] - told["after"]["correlation"]
        for each, told in people.items()
        if row is not None and told is not None and row.people.get(each) is not None
    ]
    return bool(losses) and sum(losses) / len(losses) > MAX_LOSS


def in_force(session: Session, people: Mapping[str, Any], *more: ColumnElement[bool]) -> bool:
    """Returns whether all subjects that a prior was learnt from still allow it, and meet the conditions `more`.

    Those without figures took no part.
    """
    took_part = [subject_id for subject_id, told in people.items() if told is not None]
    allowed = select(func.count()).select_from(Subject).where(Subject.id.in_(took_part), *_MAY_IMPROVE, *more)
    return session.scalars(allowed).one() == len(took_part)


def due(session: Session) -> bool:
    """Returns whether `claim` or `enforce` has something to do."""
    return _pending(session) is not None or bool(_revoked(session))


def enforce(session: Session, store: ObjectStore) -> list[int]:
    """Drops the priors that were learnt from somebody who no longer allows it; if one of them was in use, orders one from the others.

    Returns:
        The versions that were dropped.
    """
    revoked = _revoked(session)
    for row in revoked:
        _drop(session, store, row)
    if any(row.current for row in revoked) and len(sources(session)) >= MIN_PEOPLE:
        _order(session)
    return [row.version for row in revoked]


def expire(session: Session, store: ObjectStore, *, kept_s: float) -> list[int]:
    """Deletes the priors that have been unused for `kept_s` seconds, and returns their versions.

    What is deleted does not go to the trash of the store, where a revocation would not find it. The newest row stays, so that no
    version is given again.
    """
    time = queries.server_now(session)
    unused = not_(LipPrior.current), LipPrior.state.not_in(WAITING)
    _update(session, *unused, LipPrior.unused_since.is_(None), unused_since=time)  # of an earlier version
    newest = select(func.max(LipPrior.version)).scalar_subquery()
    due = *unused, LipPrior.unused_since <= time - timedelta(seconds=kept_s), LipPrior.version != newest
    gone = session.execute(delete(LipPrior).where(*due).returning(LipPrior.version, LipPrior.object_key)).all()
    deletions.request_objects(session, store, [row.object_key for row in gone if row.object_key is not None])
    return [row.version for row in gone]


def listed(session: Session) -> Sequence[LipPrior]:
    """Returns all priors, the newest first."""
    return session.scalars(select(LipPrior).order_by(LipPrior.version.desc())).all()


def get(session: Session, version: int) -> LipPrior:
    """Returns a prior as it is now. Raises LipPriorRefused: there is none."""
    row = session.get(LipPrior, version, populate_existing=True)
    if row is None:
        raise LipPriorRefused(f"There is no prior of lips {version}.")
    return row


def use(session: Session, version: int) -> None:
    """Makes trainings start from an adopted prior, or from the SHIPPED one. Raises LipPriorRefused."""
    if version != SHIPPED and (row := get(session, version)).state != "adopted":
        raise LipPriorRefused(f"The prior of lips {version} is {row.state}: there are no weights of it.")
    _choose(session, version)


def drop(session: Session, store: ObjectStore, version: int) -> None:
    """Deletes a prior, or ends the work on it; its row stays, without the people. Raises LipPriorRefused."""
    if version == SHIPPED:
        raise LipPriorRefused(
            f"Version {SHIPPED} is the shipped prior, which is always there.",
            f"Let trainings start from it: adnerf prior use {SHIPPED}.",
        )
    _drop(session, store, get(session, version))


def _pending(session: Session) -> LipPrior | None:
    query = select(LipPrior).where(LipPrior.state.in_(WAITING)).order_by(LipPrior.version).limit(1)
    return session.scalars(query).one_or_none()


def _revoked(session: Session) -> list[LipPrior]:
    rows = session.scalars(select(LipPrior).where(LipPrior.state.in_(ENDED))).all()
    return [row for row in rows if not in_force(session, row.people)]


def _order(session: Session) -> tuple[LipPrior, bool]:
    """Returns the prior that is ordered already, or a new row, and whether it is new."""
    if (pending := _pending(session)) is not None:
        return pending, False
    row = LipPrior()
    session.add(row)
    session.flush()
    return row, True


def _drop(session: Session, store: ObjectStore, row: LipPrior) -> None:
    if row.object_key is not None:
        deletions.request_objects(session, store, [row.object_key])
    values = {
        "state": "dropped",
        "current": False,
        "people": {},
        "object_key": None,
        "finished_at": now(),
        "unused_since": now(),
    }
    _update(session, LipPrior.version == row.version, **values)


def _choose(session: Session, version: int) -> None:
    time = queries.server_now(session)
    _update(session, LipPrior.current, LipPrior.version != version, current=False, unused_since=time)
    _update(session, LipPrior.version == version, current=True, unused_since=None)


def _fence(row: LipPrior) -> tuple[ColumnElement[bool], ...]:
    return LipPrior.version == row.version, LipPrior.attempt == row.attempt, LipPrior.state == "running"


def _end(session: Session, row: LipPrior, state: str, **values: Any) -> bool:
    return _update(session, *_fence(row), state=state, finished_at=now(), lease_until=None, **values) == 1


def _update(session: Session, *where: ColumnElement[bool], **values: Any) -> int:
    return queries.execute_update(session, update(LipPrior).where(*where).values(**values))
