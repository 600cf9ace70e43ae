"""The moves of jobs from state to state (job_moves.py has their table), and the only writer of jobs.state.

Every move is a single UPDATE whose WHERE clause names the states that it may come from, and, if a worker makes it, the worker's
attempt (the fence). If no row matches, the move is not made. This detects cancelled jobs, lost leases and late writes of
workers that were considered dead, and if two workers claim one job, only one succeeds. The target of the job (the subject or
video that it is for) is updated in the same transaction, always after the job: transactions that lock rows in one fixed
order cannot deadlock.

Wake-ups: with a broker, workers receive a message for each queued job. Every move to `queued` sets `wake_at` in its own
transaction, and `Database.on_queued` sends the message after the commit. `due_wakeups` finds messages that were not sent,
because the process or the broker had failed, or that the broker has lost. A worker that polls the database needs no message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.engine import after_commit, hooks_of
from storage.database.models import Job, JobKind, JobPriority, Subject, Video, new_id, now
from storage.errors import MoveNotAllowed, NotFound
from storage.tables import consents, counters, job_events, queue, quotas, webhooks
from storage.tables.job_moves import MOVES, TARGET_STATE
from storage.tables.queue import KINDS, PRIORITIES

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
"""A job that has lost its worker this many times fails: it probably crashes its worker, and would do so again."""

WORKER_LOST = {
    "code": "worker_lost",
    "message": f"The worker process ended or hung {MAX_ATTEMPTS} times during this job.",
    "remedy": "Check the worker's log (often it ran out of memory), then retry; finished stages are kept.",
}

WAKEUPS_PER_SWEEP = 100
"""Largest number of wake-ups that `due_wakeups` returns; the next sweep, seconds later, returns the next ones."""

_NOT_STARTED = {"worker": None, "lease_until": None, "stage": None, "progress": 0.0, "eta_s": None}
_ENDED = {"worker": None, "lease_until": None, "eta_s": None}


class WakeUp(NamedTuple):
    """A queued job of which a worker has to be notified, and when the notification became due."""

    job_id: str
    kind: JobKind
    due: datetime


def create(
    session: Session,
    kind: JobKind,
    *,
    owner: str,
    subject_id: str,
    video_id: str | None = None,
    priority: JobPriority = "normal",
) -> Job:
    """Queues a new job.

    Args:
        owner: The owner of the subject.
        subject_id: An existing subject; the target of the job unless there is a video.
        video_id: An existing video of the subject, for a `render` job.
        priority: `low` is claimed when nothing of normal priority waits.
    """
    rank = PRIORITIES.index(priority)
    job = Job(
        id=new_id("job"),
        owner=owner,
        kind=kind,
        state="queued",
        subject_id=subject_id,
        video_id=video_id,
        max_attempts=MAX_ATTEMPTS,
        wake_at=now(),
        priority=rank,
        turn=queue.next_turn(session, owner, rank, kind),
    )
    session.add(job)
    session.flush()
    job_events.record(session, job, "state")
    _update_target(session, job)
    _wake(session, job)
    after_commit(session, lambda: log.info("a %s job is queued", kind, extra={"job_id": job.id}))
    return job


def claim(session: Session, worker: str, *, lease_s: float, kinds: Iterable[JobKind] = KINDS) -> Job | None:
    """Leases the next queued job (queue.py) of the given kinds to `worker` for `lease_s` seconds.

    Returns:
        The running job. None if no job is queued, or if the consent for the next job was withdrawn after it was queued: then
        that job is cancelled.
    """
    first = (
        select(Job.id)
        .where(*queue.claimable(set(kinds)))
        .order_by(*queue.ORDER)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    job = _move(
        session,
        "claim",
        Job.id == first,
        **_NOT_STARTED
        | {
            "attempt": Job.attempt + 1,
            "worker": worker,
            "lease_until": _in_seconds(lease_s),
            "started_at": func.coalesce(Job.started_at, now()),
        },
    )
    if job is not None and not consents.in_force(session, job.subject_id):
        cancel(session, job.id)
        return None
    return job


class JobProgress(NamedTuple):
    """The current stage of a job, the progress of the whole job (0..1), and the estimated remaining seconds if known."""

    stage: str | None = None
    progress: float = 0.0
    eta_s: float | None = None


def heartbeat(session: Session, job_id: str, attempt: int, progress: JobProgress, *, lease_s: float) -> bool:
    """Renews the lease for `lease_s` seconds and stores the progress.

    Returns:
        False if the job no longer belongs to this attempt.
    """
    if not _update_attempt(session, job_id, attempt, lease_until=_in_seconds(lease_s), **progress._asdict()):
        return False
    job_events.record_stage(session, job_id, progress.stage)
    return True


def publish(session: Session, job_id: str, attempt: int, **target_values: Any) -> bool:
    """Sets columns of the subject or video while the job runs; returns False if the job no longer belongs to this attempt."""
    if not _update_attempt(session, job_id, attempt):
        return False
    _update_target(session, queries.get(session, Job, job_id), **target_values)
    return True


def succeed(session: Session, job_id: str, attempt: int, *, stored: int = 0, **target_values: Any) -> bool:
    """Ends the job successfully; a `preprocess` job queues the `train` job of its subject.

    Args:
        stored: Bytes that the results occupy in the object store, for the quota of the owner.
        target_values: The results: columns to set in the subject or video.

    Returns:
        False if the job no longer belongs to this attempt; then nothing is changed.
    """
    job = _move(
        session,
        "succeed",
        *_fence(job_id, attempt),
        target_values=target_values | {"stored": stored},
        **_ENDED | {"progress": 1.0, "finished_at": now()},
    )
    if job is not None and job.kind == "render":
        quotas.add_rendered_seconds(session, job.owner, target_values.get("duration_s", 0.0))
    if job is not None and job.kind == "preprocess":
        create(session, "train", owner=job.owner, subject_id=job.subject_id)
    return job is not None


def has_succeeded(session: Session, job_id: str, attempt: int) -> bool:
    """Returns whether this attempt has ended the job successfully."""
    ended = select(Job.id).where(*_fence(job_id, attempt), Job.state == "succeeded")
    return session.scalars(ended).first() is not None


def fail(session: Session, job_id: str, attempt: int, error: dict[str, str], **target_values: Any) -> bool:
    """Ends the job with an `error` (code, message, remedy); returns False if it no longer belongs to this attempt."""
    values = _ENDED | {"error": error, "finished_at": now()}
    return _move(session, "fail", *_fence(job_id, attempt), target_values=target_values, **values) is not None


def release(session: Session, job_id: str, attempt: int) -> bool:
    """Returns the job to its old position in the queue; the attempt does not count against MAX_ATTEMPTS."""
    values = _NOT_STARTED | {"max_attempts": Job.max_attempts + 1}
    return _move(session, "release", *_fence(job_id, attempt), **values) is not None


def rejoin(session: Session, subject_id: str, *, owner: str) -> None:
    """Gives the queued jobs of a subject that comes back from the trash turns from now on; they keep their order among themselves."""
    # Few of the subject's jobs are queued.
    mine = Job.owner == owner, Job.state == "queued", Job.subject_id == subject_id
    group = Job.owner, Job.priority, Job.kind
    groups = session.execute(select(*group, func.min(Job.turn)).where(*mine).group_by(*group)).all()
    for _, priority, kind, earliest in groups:
        late = queue.next_turn(session, owner, priority, kind) - earliest
        if late > 0:
            same = update(Job).where(*mine, Job.priority == priority, Job.kind == kind)
            queries.execute_update(session, same.values(turn=Job.turn + late))


def release_all(session: Session) -> None:
    """Returns all running jobs to their old positions, as after a backup was restored: their workers know nothing of it."""
    running = select(Job.id, Job.attempt).where(Job.state == "running")
    for job_id, attempt in session.execute(running).all():
        release(session, job_id, attempt)


def forgive(session: Session, job_id: str, attempt: int) -> None:
    """Does not count an attempt that was taken from a worker which was not lost, unless the job has ended for another reason since.

    A job that `give_up` has failed meanwhile returns to its old position in the queue.
    """
    this = Job.id == job_id, Job.attempt >= attempt
    given_up = Job.error["code"].as_string() == WORKER_LOST["code"]
    uncounted = {"max_attempts": Job.max_attempts + 1}
    again = _NOT_STARTED | uncounted | {"error": None, "finished_at": None}
    if _move(session, "forgive", *this, given_up, **again) is None:
        values = uncounted | {"revision": Job.revision + 1, "updated_at": now()}
        same = update(Job).where(*this, Job.state.in_(("queued", "running")))
        queries.execute_update(session, same.values(**values))


def time_out(session: Session, job_id: str, attempt: int, limit_s: float) -> bool:
    """Fails a job that has run for longer than `limit_s` seconds; returns False if it no longer belongs to this attempt."""
    error = {
        "code": "time_limit",
        "message": f"The job did not end within {limit_s:.0f} s, the time limit for its kind.",
        "remedy": "Send a shorter video or audio, choose a lighter preset, or raise the limit; then retry.",
    }
    values = _ENDED | {"error": error, "finished_at": now()}
    return _move(session, "time_out", *_fence(job_id, attempt), **values) is not None


def cancel(session: Session, job_id: str) -> Job:
    """Cancels a queued or running job. A worker that runs it notices at its next heartbeat.

    Raises:
        NotFound: there is no such job.
        MoveNotAllowed: the job has ended.
    """
    return _move_by_client(session, "cancel", job_id, **_ENDED | {"finished_at": now()})


def cancel_active(session: Session, *where: ColumnElement[bool]) -> None:
    """Cancels the queued and running jobs that satisfy `where`."""
    active = select(Job.id).where(*where, Job.state.in_(("queued", "running"))).order_by(Job.id)
    for job_id in session.scalars(active).all():
        with suppress(MoveNotAllowed, NotFound):  # it ended or was deleted meanwhile
            cancel(session, job_id)


def running_of(session: Session, subject_id: str) -> list[str]:
    """Returns the ids of the running jobs of a subject: all running ones, few as workers are, are read instead of all of the subject."""
    running = session.execute(select(Job.id, Job.subject_id).where(Job.state == "running"))
    return [job.id for job in running if job.subject_id == subject_id]


def cancel_of_subject(session: Session, subject_id: str) -> None:
    """Cancels the running jobs of a subject, and those that make it; its queued renders, which may be thousands, stay queued."""
    making = select(Job.id).where(Job.subject_id == subject_id, Job.kind.in_(("preprocess", "train")))
    cancel_active(session, Job.id.in_([*session.scalars(making), *running_of(session, subject_id)]))


def retry(session: Session, job_id: str) -> Job:
    """Queues a failed or cancelled job again, at the end of the queue and with MAX_ATTEMPTS new attempts.

    Raises:
        NotFound: there is no such job.
        MoveNotAllowed: the job has not failed and was not cancelled.
    """
    job = queries.get(session, Job, job_id)
    turn = queue.next_turn(session, job.owner, job.priority, job.kind)
    values = {"queued_at": now(), "turn": turn, "max_attempts": Job.attempt + MAX_ATTEMPTS}
    return _move_by_client(
        session, "retry", job_id, **_NOT_STARTED | values | {"error": None, "started_at": None, "finished_at": None}
    )


def sweep(session: Session, lost: Callable[[Job], bool]) -> list[Job]:
    """Takes running jobs from lost workers: queues each again at its old position, or fails it after its last attempt.

    Args:
        lost: Tells whether the worker of a running job is lost. It is called with each running job.

    Returns:
        The jobs that were taken from their workers.
    """
    swept = []
    running = select(Job).where(Job.state == "running").order_by(Job.id).with_for_update(skip_locked=True)
    for job in filter(lost, session.scalars(running).all()):
        fence = *_fence(job.id, job.attempt), Job.lease_until == job.lease_until
        if job.attempt < job.max_attempts:
            moved = _move(session, "requeue", *fence, **_NOT_STARTED)
        else:
            moved = _move(session, "give_up", *fence, **_ENDED | {"error": WORKER_LOST, "finished_at": now()})
        if moved is not None:
            swept.append(moved)
    return swept


def due_wakeups(session: Session) -> list[WakeUp]:
    """Returns the wake-ups that were not sent, or that led to no claim in time, by kind: the longest due ones first."""
    query = select(Job.id, Job.kind, Job.wake_at).where(Job.wake_at <= now()).order_by(Job.wake_at)
    # Of each kind: thousands of renders would delay those of others for minutes.
    found = (session.execute(query.where(Job.kind == kind).limit(WAKEUPS_PER_SWEEP)) for kind in KINDS)
    return [WakeUp(*row) for rows in found for row in rows]


def mark_sent(session: Session, wakeups: Iterable[WakeUp], *, again_s: float) -> None:
    """Records that wake-ups were sent; each is due again after `again_s` seconds unless its job is claimed before."""
    for wakeup in wakeups:  # A job that was queued again in the meantime has a newer `wake_at`: do not overwrite it.
        same = update(Job).where(Job.id == wakeup.job_id, Job.wake_at == wakeup.due)
        queries.execute_update(session, same.values(wake_at=_in_seconds(again_s)))


def delete_where(session: Session, *where: ColumnElement[bool]) -> None:
    """Deletes jobs, which must happen before their subject or video is deleted.

    A worker that runs one of them notices at its next heartbeat.
    """
    queries.execute_update(session, delete(Job).where(*where))


def _in_seconds(seconds: float) -> datetime:
    return now() + timedelta(seconds=seconds)


def _fence(job_id: str, attempt: int) -> tuple[ColumnElement[bool], ...]:
    """Returns the condition that no later claim has taken the job: every claim raises `attempt`."""
    return Job.id == job_id, Job.attempt == attempt


def _update_attempt(session: Session, job_id: str, attempt: int, **values: Any) -> bool:
    """Sets columns of a running job; returns False if it no longer belongs to this attempt."""
    values |= {"revision": Job.revision + 1, "updated_at": now()}
    fenced = update(Job).where(*_fence(job_id, attempt), Job.state == "running").values(**values)
    return queries.execute_update(session, fenced) == 1


def _move(session: Session, move: str, *where: ColumnElement[bool], target_values=None, **values: Any) -> Job | None:
    """Makes a move by one compare-and-set UPDATE; returns None if no matching row is in a state that allows it."""
    sources, destination = MOVES[move]
    values |= {"state": destination, "revision": Job.revision + 1, "updated_at": now()}
    values["wake_at"] = now() if destination == "queued" else None
    statement = update(Job).where(*where, Job.state.in_(sources)).values(**values).returning(Job)
    options = {"synchronize_session": False, "populate_existing": True}
    job = session.scalars(statement, execution_options=options).one_or_none()
    if job is not None:
        job_events.record(session, job, "state")
        _update_target(session, job, **(target_values or {}))
        counters.add(session, counters.MOVE, job.kind, move)
        webhooks.enqueue_events(session, job)
        if destination == "queued":
            _wake(session, job)
    return job


def _wake(session: Session, job: Job) -> None:
    on_queued = hooks_of(session).on_queued
    if on_queued is not None:
        wakeup = WakeUp(job.id, job.kind, job.wake_at)
        after_commit(session, lambda: on_queued(wakeup))


def _move_by_client(session: Session, move: str, job_id: str, **values: Any) -> Job:
    job = _move(session, move, Job.id == job_id, **values)
    if job is None:
        state = queries.get(session, Job, job_id).state
        raise MoveNotAllowed(f"A {state} job cannot be {'cancelled' if move == 'cancel' else 'retried'}.")
    return job


def _update_target(session: Session, job: Job, **values: Any) -> None:
    """Sets the state and other columns of the job's target: its video, or its subject if it has no video."""
    target, target_id = (Video, job.video_id) if job.video_id else (Subject, job.subject_id)
    values |= {"state": TARGET_STATE[job.kind, job.state], "updated_at": now()}
    if stored := values.pop("stored", 0):
        values["stored_bytes"] = target.stored_bytes + stored
    statement = update(target).where(target.id == target_id).values(**values)
    session.execute(statement, execution_options={"synchronize_session": "fetch"})
