"""The order of the queue: who is claimed next, and the positions that clients see.

Jobs are claimed in the order of `priority`, `turn` and `queued_at`. Turns share the workers fairly between owners (start-time fair
queueing): the jobs of one owner get successive turns, and the first job of an owner gets the turn of the job that is next. So an
owner with one job waits for one job of each other owner, however many those have queued. A job keeps its turn when it returns to its
old position, so the order is fixed once a job is queued, and positions are true.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, get_args

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from storage.database.models import Job, JobKind, JobPriority, Subject, Withdrawal
from storage.tables import workers

KINDS: tuple[JobKind, ...] = get_args(JobKind)
PRIORITIES: tuple[JobPriority, ...] = get_args(JobPriority)
"""The priorities in the order of claims; a row holds the number of its own."""
ORDER = (Job.priority, Job.turn, Job.queued_at, Job.id)
"""The columns by which the queue is ordered."""


def next_turn(session: Session, owner: str, priority: int, kind: JobKind) -> int:
    """Returns the turn of a job that is queued now, among the jobs whose kind shares a worker with its `kind`."""
    kinds = workers.competing_kinds(session)[kind]
    # Of those that can be claimed: jobs that wait in the trash would hold the turns back, and put their owner's next ones off.
    queued = *claimable(kinds), Job.priority == priority
    first = session.scalars(select(func.min(Job.turn)).where(*queued)).one() or 0
    last = session.scalars(select(func.max(Job.turn)).where(*queued, Job.owner == owner)).one()
    return first if last is None else max(first, last + 1)


def claimable(kinds: Collection[JobKind]) -> tuple[ColumnElement[bool], ...]:
    """Returns the conditions for jobs of some kinds that can be claimed, in a form that an index serves: none on the kind for all
    kinds, equality for one. The queued jobs of a subject whose consent was withdrawn wait for their cancellation only, and those
    of one in the trash until it is restored.
    """
    in_trash = select(Subject.id).where(Subject.trashed_until.is_not(None))
    held = Job.subject_id.not_in(select(Withdrawal.subject_id)), Job.subject_id.not_in(in_trash)
    claimable = Job.state == "queued", *held
    if len(kinds) == len(KINDS):
        return claimable
    return *claimable, Job.kind == next(iter(kinds)) if len(kinds) == 1 else Job.kind.in_(kinds)


def queue_positions(session: Session, job_ids: Iterable[str]) -> dict[str, int]:
    """Returns the positions in the queue of those jobs that are queued, by job id; 1 is claimed next.

    A position counts the jobs that the workers which serve the job's queue claim before it: only kinds that share a worker
    with its kind (workers.competing_kinds).
    """
    requested = select(Job.kind, *ORDER).where(Job.id.in_(list(job_ids)), *claimable(KINDS)).order_by(*ORDER)
    rows = session.execute(requested).all()
    if not rows:
        return {}
    competing = workers.competing_kinds(session)
    places: dict[frozenset[JobKind], list[tuple[Any, ...]]] = {}
    for kind, *place in rows:
        places.setdefault(competing[kind], []).append(tuple(place))
    return {
        job_id: position
        for kinds, group in places.items()
        for job_id, position in _positions_among(session, kinds, group).items()
    }


def _positions_among(session: Session, kinds: Collection[JobKind], places: list[tuple[Any, ...]]) -> dict[str, int]:
    """The positions of jobs among the queued jobs of `kinds`, by job id; `places` are their sort keys in ascending order.

    The jobs before the first requested one are counted, and those up to the last one are numbered; later jobs are not read.
    """
    queued = claimable(kinds)
    (*_, first), *others = places
    ahead = select(func.count()).select_from(Job).where(*queued, tuple_(*ORDER) < places[0])
    positions = {first: session.scalars(ahead).one() + 1}
    if others:
        behind = func.row_number().over(order_by=ORDER).label("behind")
        between = (*queued, tuple_(*ORDER) > places[0], tuple_(*ORDER) <= places[-1])
        numbered = select(Job.id, behind).where(*between).subquery()
        offsets = select(numbered).where(numbered.c.id.in_([job_id for *_, job_id in others]))
        positions |= {job_id: positions[first] + offset for job_id, offset in session.execute(offsets)}
    return positions
