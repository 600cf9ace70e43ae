"""Positions of queued jobs: how many jobs the workers claim before each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import get_args

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from storage.database.models import Job, JobKind
from storage.tables import workers

KINDS: tuple[JobKind, ...] = get_args(JobKind)


def of_jobs(session: Session, job_ids: Iterable[str]) -> dict[str, int]:
    """Returns the positions in the queue of those jobs that are queued, by job id; 1 is claimed next.

    A position counts the jobs that the workers which serve the job's queue claim before it: only kinds that share a worker
    with its kind (workers.competing_kinds).
    """
    order = (Job.queued_at, Job.id)
    requested = select(Job.kind, *order).where(Job.id.in_(list(job_ids)), Job.state == "queued").order_by(*order)
    rows = session.execute(requested).all()
    if not rows:
        return {}
    competing = workers.competing_kinds(session)
    places: dict[frozenset[JobKind], list[tuple[datetime, str]]] = {}
    for kind, queued_at, job_id in rows:
        places.setdefault(competing[kind], []).append((queued_at, job_id))
    return {
        job_id: position
        for kinds, group in places.items()
        for job_id, position in _positions_among(session, kinds, group).items()
    }


def _positions_among(
    session: Session, kinds: Collection[JobKind], places: list[tuple[datetime, str]]
) -> dict[str, int]:
    """The positions of jobs among the queued jobs of `kinds`, by job id; `places` are their sort keys in ascending order.

    The jobs before the first requested one are counted, and those up to the last one are numbered; later jobs are not read.
    """
    order = (Job.queued_at, Job.id)
    queued = (Job.state == "queued", *of_kinds(kinds))
    (_, first), *others = places
    ahead = select(func.count()).select_from(Job).where(*queued, tuple_(*order) < places[0])
    positions = {first: session.scalars(ahead).one() + 1}
    if others:
        behind = func.row_number().over(order_by=order).label("behind")
        between = (*queued, tuple_(*order) > places[0], tuple_(*order) <= places[-1])
        numbered = select(Job.id, behind).where(*between).subquery()
        offsets = select(numbered).where(numbered.c.id.in_([job_id for _, job_id in others]))
        positions |= {job_id: positions[first] + offset for job_id, offset in session.execute(offsets)}
    return positions


def of_kinds(kinds: Collection[JobKind]) -> tuple[ColumnElement[bool], ...]:
    """Returns the condition on the kind in a form that an index serves: none for all kinds, equality for one."""
    if len(kinds) == len(KINDS):
        return ()
    return (Job.kind == next(iter(kinds)) if len(kinds) == 1 else Job.kind.in_(kinds),)
