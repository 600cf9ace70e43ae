"""A job's life: the only writer of jobs.state.

    move        from                  to          by
    claim       queued                running     a worker; raises `attempt`, takes a lease
    succeed     running               succeeded   the worker whose attempt it is
    fail        running               failed      the same
    release     running               queued      the same, when it is told to stop
    cancel      queued, running       cancelled   a client
    retry       failed, cancelled     queued      a client
    requeue     running               queued      the sweep: the worker is gone
    give_up     running               failed      the sweep: the worker is gone for the third time
    time_out    running               failed      the worker whose attempt it is, when its time is over

Every move is one UPDATE that names the states it may come from, and for a worker its attempt: no row, no move. So a
cancel, a lost lease and a late write of a worker thought dead are all seen in the same way, and of two workers that
claim one job only one gets it. What the job is for (a subject or a video) follows in the same transaction; always the
job before its owner, so that transactions which lock rows one by one cannot wait for each other in a circle.

Wake-ups: where a broker tells workers of jobs, every move to `queued` also sets `wake_at`, in its own transaction; that is
the wake-up, written down. Once the transaction is durable, `Database.on_queued` is called with it and sends it. What was
not sent (the process or the broker was gone) or not heeded (the broker lost it) is found by `due_wakeups`. A worker that
polls the database needs none of this.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple, get_args

from sqlalchemy import ColumnElement, delete, func, select, tuple_, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.engine import after_commit
from storage.database.models import Job, JobKind, Subject, Video, new_id, now
from storage.errors import MoveNotAllowed
from storage.tables import consents, counters, job_events, quotas, webhooks

log = logging.getLogger(__name__)

KINDS: tuple[JobKind, ...] = get_args(JobKind)

MAX_ATTEMPTS = 3
"""How often a job may lose its worker before it is given up."""

WORKER_LOST = {
    "code": "worker_lost",
    "message": f"The worker process ended {MAX_ATTEMPTS} times during this job.",
    "remedy": "Look into the worker's log (often it is a lack of memory), then retry; what stands is kept.",
}

MOVES: dict[str, tuple[tuple[str, ...], str]] = {
    "claim": (("queued",), "running"),
    "succeed": (("running",), "succeeded"),
    "fail": (("running",), "failed"),
    "release": (("running",), "queued"),
    "cancel": (("queued", "running"), "cancelled"),
    "retry": (("failed", "cancelled"), "queued"),
    "requeue": (("running",), "queued"),
    "give_up": (("running",), "failed"),
    "time_out": (("running",), "failed"),
}

OWNER_STATE: dict[tuple[str, str], str] = {
    ("preprocess", "queued"): "pending",
    ("preprocess", "running"): "preprocessing",
    ("preprocess", "succeeded"): "training",
    ("train", "queued"): "training",
    ("train", "running"): "training",
    ("train", "succeeded"): "ready",
    ("render", "queued"): "pending",
    ("render", "running"): "rendering",
    ("render", "succeeded"): "ready",
    **{(kind, state): state for kind in KINDS for state in ("failed", "cancelled")},
}

_FRESH = {"worker": None, "lease_until": None, "stage": None, "progress": 0.0, "eta_s": None}
_OVER = {"worker": None, "lease_until": None, "eta_s": None}


class WakeUp(NamedTuple):
    """That there is a job for a worker, and since when nobody was told."""

    job_id: str
    kind: JobKind
    due: datetime


def create(session: Session, kind: JobKind, subject_id: str, video_id: str | None = None) -> Job:
    """A new queued job, of the subject's owner. Its subject or video must be there."""
    job = Job(
        id=new_id("job"),
        owner=session.scalars(select(Subject.owner).where(Subject.id == subject_id)).one(),
        kind=kind,
        state="queued",
        subject_id=subject_id,
        video_id=video_id,
        max_attempts=MAX_ATTEMPTS,
        wake_at=now(),
    )
    session.add(job)
    session.flush()
    job_events.record(session, job, "state")
    _update_owner(session, job)
    _wake(session, job)
    after_commit(session, lambda: log.info("a %s job is queued", kind, extra={"job_id": job.id}))
    return job


def claim(session: Session, worker: str, *, lease_s: float, kinds: Iterable[JobKind] = KINDS) -> Job | None:
    """The oldest queued job of these kinds, now leased to `worker` for `lease_s` seconds; None if there is none.

    Should its subject's consent have been withdrawn just when it was queued, it is cancelled instead: None.
    """
    oldest = (
        select(Job.id)
        .where(Job.state == "queued", *_of_kinds(set(kinds)))
        .order_by(Job.queued_at, Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    job = _move(
        session,
        "claim",
        Job.id == oldest,
        **_FRESH
        | {
            "attempt": Job.attempt + 1,
            "worker": worker,
            "lease_until": _until(lease_s),
            "started_at": func.coalesce(Job.started_at, now()),
        },
    )
    if job is not None and not consents.in_force(session, job.subject_id):
        cancel(session, job.id)
        return None
    return job


class JobProgress(NamedTuple):
    """How far a job is: a stage's name, its whole progress 0..1, and the seconds to go where they can be told."""

    stage: str | None = None
    progress: float = 0.0
    eta_s: float | None = None


def heartbeat(session: Session, job_id: str, attempt: int, standing: JobProgress, *, lease_s: float) -> bool:
    """Renews the lease and tells how far the job is. False: the job is not this attempt's any more."""
    if not _touch(session, job_id, attempt, lease_until=_until(lease_s), **standing._asdict()):
        return False
    job_events.note_stage(session, job_id, standing.stage)
    return True


def publish(session: Session, job_id: str, attempt: int, **owner_values: Any) -> bool:
    """Sets columns of the subject or video while the job runs. False: the job is not this attempt's any more."""
    if not _touch(session, job_id, attempt):
        return False
    _update_owner(session, queries.get(session, Job, job_id), **owner_values)
    return True


def succeed(session: Session, job_id: str, attempt: int, *, stored: int = 0, **owner_values: Any) -> bool:
    """The job is done: its results in `owner_values` become visible, and after `preprocess` the `train` job is made.

    `stored` is how many bytes they take in the store, for the quota of the subject's owner.
    False: the job is not this attempt's any more; nothing became visible.
    """
    job = _move(
        session,
        "succeed",
        *_fence(job_id, attempt),
        owner_values=owner_values | {"stored": stored},
        **_OVER | {"progress": 1.0, "finished_at": now()},
    )
    if job is not None and job.kind == "render":
        quotas.add_rendered_seconds(session, job.owner, owner_values.get("duration_s", 0.0))
    if job is not None and job.kind == "preprocess":
        create(session, "train", job.subject_id)
    return job is not None


def fail(session: Session, job_id: str, attempt: int, error: dict[str, str], **owner_values: Any) -> bool:
    """The job failed for the reason `error` (code, message, remedy). False: it is not this attempt's any more."""
    values = _OVER | {"error": error, "finished_at": now()}
    return _move(session, "fail", *_fence(job_id, attempt), owner_values=owner_values, **values) is not None


def release(session: Session, job_id: str, attempt: int) -> bool:
    """Gives the job back to the queue, at its old place, without counting this attempt."""
    values = _FRESH | {"max_attempts": Job.max_attempts + 1}
    return _move(session, "release", *_fence(job_id, attempt), **values) is not None


def time_out(session: Session, job_id: str, attempt: int, limit_s: float) -> bool:
    """The job failed for having run more than `limit_s` seconds. False: it is not this attempt's any more."""
    error = {
        "code": "time_limit",
        "message": f"The job did not end within {limit_s:.0f} s, the most that its kind may take.",
        "remedy": "Send less (a shorter video or audio, a lighter preset), or raise the limit; then retry.",
    }
    values = _OVER | {"error": error, "finished_at": now()}
    return _move(session, "time_out", *_fence(job_id, attempt), **values) is not None


def cancel(session: Session, job_id: str) -> Job:
    """Cancels a job; a worker that runs it sees this at its next heartbeat. Raises NotFound, MoveNotAllowed."""
    return _move_by_client(session, "cancel", job_id, **_OVER | {"finished_at": now()})


def retry(session: Session, job_id: str) -> Job:
    """Queues a failed or cancelled job again, at the end, with new attempts. Raises NotFound, MoveNotAllowed."""
    values = {"queued_at": now(), "max_attempts": Job.attempt + MAX_ATTEMPTS}
    return _move_by_client(
        session, "retry", job_id, **_FRESH | values | {"error": None, "started_at": None, "finished_at": None}
    )


def sweep(session: Session, *, dead: Callable[[str], bool] = lambda worker: False) -> list[Job]:
    """Takes jobs from workers that are gone: whose lease ran out, or of which `dead` says so; returns these jobs.

    They are queued again at their old place, or failed when it happened for the last time that is allowed.
    """
    swept = []
    running = select(Job).where(Job.state == "running").order_by(Job.id).with_for_update(skip_locked=True)
    for job in session.scalars(running).all():
        if job.lease_until > now() and not dead(job.worker):
            continue
        fence = *_fence(job.id, job.attempt), Job.lease_until == job.lease_until
        if job.attempt < job.max_attempts:
            moved = _move(session, "requeue", *fence, **_FRESH)
        else:
            moved = _move(session, "give_up", *fence, **_OVER | {"error": WORKER_LOST, "finished_at": now()})
        if moved is not None:
            swept.append(moved)
    return swept


def due_wakeups(session: Session, *, limit: int = 100) -> list[WakeUp]:
    """The wake-ups of queued jobs that were never sent, or sent and not heeded in time; those due longest first."""
    query = select(Job.id, Job.kind, Job.wake_at).where(Job.wake_at <= now()).order_by(Job.wake_at).limit(limit)
    return [WakeUp(*row) for row in session.execute(query)]


def mark_sent(session: Session, wakeups: Iterable[WakeUp], *, again_s: float) -> None:
    """Notes that these were sent; each is due again after `again_s` seconds if nobody has claimed the job by then."""
    for wakeup in wakeups:  # a job that was queued anew meanwhile has another `wake_at`, which stays
        mine = update(Job).where(Job.id == wakeup.job_id, Job.wake_at == wakeup.due).values(wake_at=_until(again_s))
        session.execute(mine, execution_options={"synchronize_session": False})


def delete_job(session: Session, *where: ColumnElement[bool]) -> None:
    """Removes jobs; a worker that runs one sees it at its next heartbeat. Before their owner is removed."""
    session.execute(delete(Job).where(*where), execution_options={"synchronize_session": False})


def queue_positions(session: Session, job_ids: Iterable[str]) -> dict[str, int]:
    """The place in the queue (1: the next to be claimed) of those of the jobs that are queued.

    Counts the queue up to the first of them, numbers it from there to the last, and looks no further.
    """
    order = (Job.queued_at, Job.id)
    wanted = select(*order).where(Job.id.in_(list(job_ids)), Job.state == "queued").order_by(*order)
    places = [tuple(row) for row in session.execute(wanted)]
    if not places:
        return {}
    (_, first), *others = places
    ahead = select(func.count()).select_from(Job).where(Job.state == "queued", tuple_(*order) < places[0])
    positions = {first: session.scalars(ahead).one() + 1}
    if others:
        behind = func.row_number().over(order_by=order).label("behind")
        between = (Job.state == "queued", tuple_(*order) > places[0], tuple_(*order) <= places[-1])
        numbered = select(Job.id, behind).where(*between).subquery()
        found = select(numbered).where(numbered.c.id.in_([job_id for _, job_id in others]))
        positions |= {job_id: positions[first] + number for job_id, number in session.execute(found)}
    return positions


def _of_kinds(kinds: Collection[JobKind]) -> tuple[ColumnElement[bool], ...]:
    """The condition in the form for which there is an index: none at all, or one kind."""
    if len(kinds) == len(KINDS):
        return ()
    return (Job.kind == next(iter(kinds)) if len(kinds) == 1 else Job.kind.in_(kinds),)


def _until(lease_s: float):
    return now() + timedelta(seconds=lease_s)


def _fence(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    return Job.id == job_id, Job.attempt == attempt


def _touch(session: Session, job_id: str, attempt: int, **values: Any) -> bool:
    values |= {"revision": Job.revision + 1, "updated_at": now()}
    still_mine = update(Job).where(*_fence(job_id, attempt), Job.state == "running").values(**values)
    return session.execute(still_mine, execution_options={"synchronize_session": False}).rowcount == 1


def _move(session: Session, move: str, *where: ColumnElement[bool], owner_values=None, **values: Any) -> Job | None:
    """One compare-and-set UPDATE; None where no row was in a state to be moved."""
    sources, target = MOVES[move]
    values |= {"state": target, "revision": Job.revision + 1, "updated_at": now()}
    values["wake_at"] = now() if target == "queued" else None
    statement = update(Job).where(*where, Job.state.in_(sources)).values(**values).returning(Job)
    options = {"synchronize_session": False, "populate_existing": True}
    job = session.scalars(statement, execution_options=options).one_or_none()
    if job is not None:
        job_events.record(session, job, "state")
        _update_owner(session, job, **(owner_values or {}))
        counters.add(session, counters.MOVE, job.kind, move)
        webhooks.enqueue_events(session, job)
        if target == "queued":
            _wake(session, job)
    return job


def _wake(session: Session, job: Job) -> None:
    on_queued = session.info.get("on_queued")
    if on_queued is not None:
        wakeup = WakeUp(job.id, job.kind, job.wake_at)
        after_commit(session, lambda: on_queued(wakeup))


def _move_by_client(session: Session, move: str, job_id: str, **values: Any) -> Job:
    job = _move(session, move, Job.id == job_id, **values)
    if job is None:
        state = queries.get(session, Job, job_id).state
        raise MoveNotAllowed(f"A {state} job cannot be {'cancelled' if move == 'cancel' else 'retried'}.")
    return job


def _update_owner(session: Session, job: Job, **values: Any) -> None:
    owner, owner_id = (Video, job.video_id) if job.video_id else (Subject, job.subject_id)
    values |= {"state": OWNER_STATE[job.kind, job.state], "updated_at": now()}
    if stored := values.pop("stored", 0):
        values["stored_bytes"] = owner.stored_bytes + stored
    statement = update(owner).where(owner.id == owner_id).values(**values)
    session.execute(statement, execution_options={"synchronize_session": "fetch"})
