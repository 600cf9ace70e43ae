"""Server-sent events of jobs: the subscribers of this process, and one query that serves them all.

A subscriber costs a connection and a few objects, but no thread and no database connection, so that several hundred can wait at
once. This is the only asynchronous code that outlives a request: while anybody subscribes, a task polls the database twice a
second, in one thread, for changes of the followed jobs. The changes in between are recorded (storage/tables/job_events.py), so a
slow poll delays events but loses none. A subscriber whose connection does not accept events gets no more until it does; it then
receives the missed ones, and nothing accumulates in memory.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
from fastapi.sse import format_sse_event
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.auth import CHECK_S, Caller, require_valid
from api.problems.problems import Problem
from api.responses import serializers
from api.schemas import resources
from storage.database.engine import Database
from storage.database.models import Job
from storage.errors import Unauthorized
from storage.tables import job_events, queue

log = logging.getLogger(__name__)

POLL_S = 0.5
"""Seconds between two polls: half of the second in which workers report progress."""
KEEP_ALIVE_S = 15.0
"""Seconds without an event after which a comment is sent; proxies close connections that are silent for 30 to 60 s."""
RECONNECT_MS = 2000
"""Milliseconds that a client is asked to wait before it reconnects, so that a restart does not bring all of them at once."""
MAX_STREAMS = 5000
"""Streams of one process, unless it may have fewer connections (api/__main__.py): the other half of the connections is for requests."""
RETRY_AFTER = {"Retry-After": "10"}
"""The answer's header beyond a limit on streams. Others end within minutes, and meanwhile the client can poll."""
FINAL_STATES = ("succeeded", "failed", "cancelled")


class Cursor(NamedTuple):
    """The last state of a job that a subscriber knows: revision, and position in the queue."""

    revision: int
    position: int | None


class Change(NamedTuple):
    """One event: `name` is what changed (`state`, `stage`, `progress` or `queue`), `job` the job right after the change."""

    name: str
    revision: int
    job: resources.Job

    def encode(self) -> bytes:
        """Formats the event for the wire."""
        return format_sse_event(event=self.name, data_str=self.job.model_dump_json(), id=str(self.revision))


class Subscription(NamedTuple):
    """Where a subscriber starts: the changes that it receives at once, and its cursor after them."""

    changes: list[Change]
    cursor: Cursor
    ended: bool
    """True if the client already knows the end of the job: nothing can follow."""


def subscribe(session: Session, job: Job, last_event_id: str | None) -> Subscription:
    """Determines where a subscriber starts.

    Args:
        session: for reading.
        job: the followed job.
        last_event_id: the header Last-Event-ID; an id that is not one of this job's revisions is ignored.
    """
    positions = queue.queue_positions(session, [job.id])
    cursor = Cursor(job.revision, positions.get(job.id))
    known = int(last_event_id) if last_event_id and re.fullmatch("[0-9]{1,9}", last_event_id) else None
    if known is None or known > job.revision:
        current = serializers.job_with_position(job, positions)
        return Subscription([Change("state", job.revision, current)], cursor, False)
    if known == job.revision:
        return Subscription([], cursor, job.state in FINAL_STATES)
    events = job_events.since(session, {job.id: known})[job.id]
    return Subscription(_changes(job, events, positions), cursor, False)


@dataclass(eq=False)
class Subscriber:
    """A client that follows one job: the changes to send next, and its cursor after they are sent."""

    pending: list[Change]
    cursor: Cursor
    caller: Caller | None = None
    deleted: bool = False
    revoked: bool = False
    wake_up: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, changes: list[Change] | None) -> None:
        """Queues the changes that are new to this subscriber; None: the job was deleted.

        While earlier changes are pending nothing is queued: the next poll finds it again.
        """
        if self.pending:
            return
        self.deleted = changes is None
        self.pending = [change for change in changes or () if self._is_new(change)]
        if self.pending:
            last = self.pending[-1]
            self.cursor = Cursor(last.revision, last.job.queue_position)
        if self.pending or self.deleted:
            self.wake_up.set()

    def revoke(self) -> None:
        """Ends the stream because the API key is not valid any more; a client that reconnects gets the reason."""
        self.revoked = True
        self.wake_up.set()

    def _is_new(self, change: Change) -> bool:
        moved_up = change.name == "queue" and change.job.queue_position != self.cursor.position
        return change.revision > self.cursor.revision or moved_up


class JobEventHub:
    """The subscribers of this process. Call its methods from the event loop only.

    Args:
        database: Is polled while anybody subscribes.
        streams_per_owner: Streams that one owner may have open here.

    Attributes:
        max_streams: Streams that all owners together may have open here.
    """

    def __init__(self, database: Database, streams_per_owner: int):
        self._database, self._streams_per_owner = database, streams_per_owner
        self.max_streams = MAX_STREAMS
        self._streams: Counter[str] = Counter()
        self._subscribers: defaultdict[str, set[Subscriber]] = defaultdict(set)
        self._polling: asyncio.Task[None] | None = None
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False

    @contextmanager
    def stream_of(self, owner: str) -> Iterator[None]:
        """Counts a stream of `owner` inside the block. Raises Problem if there are too many."""
        if self._streams[owner] >= self._streams_per_owner:
            message = f"You follow {self._streams_per_owner} jobs at once, the most that are allowed."
            raise Problem("too_many_streams", message, headers=RETRY_AFTER)
        if self._streams.total() >= self.max_streams:
            raise Problem("unavailable", "Too many clients follow jobs.", headers=RETRY_AFTER)
        self._streams[owner] += 1
        try:
            yield
        finally:
            self._streams[owner] -= 1
            self._streams += Counter()  # forgets owners without streams

    async def follow(
        self, job_id: str, subscription: Subscription, caller: Caller | None = None
    ) -> AsyncIterator[bytes]:
        """Yields the events for one subscriber, until the job has ended or is deleted.

        The stream ends earlier if `caller` is not accepted any more: the API key is revoked, expires or is rotated, or the first one was made.
        """
        subscriber = Subscriber(subscription.changes, subscription.cursor, caller)
        self._subscribers[job_id].add(subscriber)
        if self._polling is None or self._polling.done():
            self._polling = asyncio.create_task(self._poll_until_unused())
        try:
            yield format_sse_event(retry=RECONNECT_MS)
            while not (self._closed or subscriber.revoked):
                changes, subscriber.pending = subscriber.pending, []
                for change in changes:
                    yield change.encode()
                if changes and changes[-1].job.state in FINAL_STATES:
                    return
                if subscriber.deleted:
                    yield format_sse_event(event="deleted", data_str=f'{{"id":"{job_id}"}}')
                    return
                with anyio.move_on_after(KEEP_ALIVE_S) as timeout:
                    await subscriber.wake_up.wait()
                subscriber.wake_up.clear()
                if timeout.cancelled_caught:
                    yield format_sse_event(comment="nothing new")
        finally:
            self._subscribers[job_id].discard(subscriber)
            if not self._subscribers[job_id]:
                del self._subscribers[job_id]

    @property
    def subscribers(self) -> int:
        """The number of subscribers; may be read from any thread."""
        return sum(map(len, list(self._subscribers.values())))

    def close(self) -> None:
        """Ends all streams: the process is about to stop, and clients reconnect to its successor."""
        self._closed = True
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.wake_up.set()

    async def _poll_until_unused(self) -> None:
        check_at = time.monotonic() + CHECK_S
        while self._subscribers and not self._closed:
            cursors = {
                job_id: {subscriber.cursor for subscriber in subscribers if not subscriber.pending}
                for job_id, subscribers in self._subscribers.items()
            }
            try:
                changed = await anyio.to_thread.run_sync(poll, self._database, cursors, limiter=self._thread)
            except Exception:  # the database cannot be reached for a moment: changes are recorded there meanwhile
                log.exception("cannot poll the followed jobs")
                changed = {}
            for job_id, changes in changed.items():
                for subscriber in self._subscribers.get(job_id, ()):
                    subscriber.push(changes)
            if time.monotonic() >= check_at:
                await self._check_callers()
                check_at = time.monotonic() + CHECK_S
            await asyncio.sleep(POLL_S)

    async def _check_callers(self) -> None:
        subscribers = [each for group in self._subscribers.values() for each in group if each.caller is not None]
        callers = {each.caller for each in subscribers}
        try:
            refused = await anyio.to_thread.run_sync(_refused, self._database, callers, limiter=self._thread)
        except Exception:  # as above
            log.exception("cannot check the keys of the subscribers")
            return
        for subscriber in subscribers:
            if subscriber.caller in refused:
                subscriber.revoke()


def _refused(database: Database, callers: Collection[Caller]) -> set[Caller]:
    """Returns those of the callers that are not accepted any more."""
    refused = set()
    with database.session(write=False) as session:
        for caller in callers:
            try:
                require_valid(session, caller)
            except Unauthorized:
                refused.add(caller)
    return refused


def poll(database: Database, cursors: dict[str, Collection[Cursor]]) -> dict[str, list[Change] | None]:
    """Finds the followed jobs that have changed.

    Args:
        database: read in one session.
        cursors: by job id, the cursors of its subscribers; jobs without cursors are skipped.

    Returns:
        By id of each changed job, the changes since the oldest of its cursors; None if the job was deleted.
    """
    with database.session(write=False) as session:
        query = select(Job.id, Job.revision, Job.state).where(
            Job.id.in_([job_id for job_id in cursors if cursors[job_id]])
        )
        rows = {row.id: row for row in session.execute(query)}
        positions = queue.queue_positions(session, [row.id for row in rows.values() if row.state == "queued"])
        oldest_revision = {
            job_id: min(cursor.revision for cursor in cursors[job_id])
            for job_id, row in rows.items()
            if any(cursor != (row.revision, positions.get(job_id)) for cursor in cursors[job_id])
        }
        changed: dict[str, list[Change] | None] = {
            job_id: None for job_id in cursors if cursors[job_id] and job_id not in rows
        }
        events = job_events.since(session, oldest_revision)
        for job in session.scalars(select(Job).where(Job.id.in_(list(oldest_revision)))):
            changed[job.id] = _changes(job, events[job.id], positions)
        return changed


def _changes(job: Job, events: list[job_events.JobEvent], positions: dict[str, int]) -> list[Change]:
    """Returns the recorded changes of `job`, and last its current state."""
    current = serializers.job_with_position(job, positions)
    changes = [Change(event.name, event.revision, _as_recorded(current, event)) for event in events]
    if changes and changes[-1].revision == job.revision:
        return [*changes[:-1], changes[-1]._replace(job=current)]
    name = {"running": "progress", "queued": "queue"}.get(job.state, "state")
    return [*changes, Change(name, job.revision, current)]


def _as_recorded(current: resources.Job, event: job_events.JobEvent) -> resources.Job:
    return resources.Job.model_validate(current.model_dump() | {"queue_position": None} | event.then)
