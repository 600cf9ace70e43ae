"""JobEventHub: those who follow jobs by server-sent events, and the one look at the database that serves them all.

A listener costs a connection and a few objects, no thread and no database connection: several hundred may wait at once. So
here, and only here, is asynchronous code that lives longer than a request: a task that looks, twice a second while somebody
listens, in a thread of its own, which of the followed jobs have changed. How things came about in between is noted
(storage/tables/job_events.py), so a slow look tells late but leaves nothing out. A listener that does not take what it is told is not
told more, and hears the rest of it later: nothing piles up.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
from fastapi.sse import format_sse_event
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.responses import serializers
from api.schemas import resources
from storage.database.engine import Database
from storage.database.models import Job
from storage.errors import Unauthorized
from storage.tables import api_keys, job_events, jobs

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Time between two looks; workers tell of progress once a second."""
SILENCE_S = 15.0
"""After so long without an event a comment is sent, or proxies would take the connection for dead."""
KEYS_S = 15.0
"""Time between two looks at whether the keys of the listeners are still good."""
RECONNECT_MS = 2000
"""How long a client is asked to wait before it comes back."""
OVER = ("succeeded", "failed", "cancelled")


class Cursor(NamedTuple):
    """What a listener knows of its job: the last revision, and the place in the queue."""

    revision: int
    place: int | None


class Change(NamedTuple):
    """One event. `name` is what has changed: `state`, `stage`, `progress` or `queue`; `job` is what it was then."""

    name: str
    revision: int
    job: resources.Job

    def encode(self) -> bytes:
        """As it goes over the wire."""
        return format_sse_event(event=self.name, data_str=self.job.model_dump_json(), id=str(self.revision))


class Subscription(NamedTuple):
    """Where a listener begins: what it is told at once, and what it knows then."""

    told: list[Change]
    seen: Cursor
    ended: bool
    """It had heard the end of the job already: there is nothing to follow."""


def begin(session: Session, job: Job, last_event_id: str | None) -> Subscription:
    """For a listener that has come so far; an id that is none of this job's counts as none."""
    places = jobs.queue_positions(session, [job.id])
    seen = Cursor(job.revision, places.get(job.id))
    heard = int(last_event_id) if last_event_id and re.fullmatch("[0-9]{1,9}", last_event_id) else None
    if heard is None or heard > job.revision:
        return Subscription([Change("state", job.revision, serializers.job_with_position(job, places))], seen, False)
    if heard == job.revision:
        return Subscription([], seen, job.state in OVER)
    return Subscription(_changes(job, job_events.since(session, {job.id: heard})[job.id], places), seen, False)


@dataclass(eq=False)
class Subscriber:
    """Somebody who follows one job: what is to be sent next, and what is known once that has been sent."""

    pending: list[Change]
    seen: Cursor
    token: str | None = None
    deleted: bool = False
    refused: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, changes: list[Change] | None) -> None:
        """Takes what is new to it; None: the job was deleted. What comes before it has passed the last on is left."""
        if self.pending:
            return
        self.deleted = changes is None
        self.pending = [change for change in changes or () if self._is_new(change)]
        if self.pending:
            last = self.pending[-1]
            self.seen = Cursor(last.revision, last.job.queue_position)
        if self.pending or self.deleted:
            self.woken.set()

    def refuse(self) -> None:
        """Its key is of no use any more: nothing else is sent, and who comes back is told why."""
        self.refused = True
        self.woken.set()

    def _is_new(self, change: Change) -> bool:
        moved_up = change.name == "queue" and change.job.queue_position != self.seen.place
        return change.revision > self.seen.revision or moved_up


class JobEventHub:
    """The listeners of this process. Its methods belong to the event loop."""

    def __init__(self, database: Database):
        self._database = database
        self._listeners: defaultdict[str, set[Subscriber]] = defaultdict(set)
        self._looking: asyncio.Task[None] | None = None
        self._thread = anyio.CapacityLimiter(1)
        self._closed = False

    async def follow(self, job_id: str, beginning: Subscription, token: str | None = None) -> AsyncIterator[bytes]:
        """What one listener is sent: every change from `beginning` on, until the job is over or deleted.

        It ends before that where the key that `token` shows is revoked, expires or is rotated for good.
        """
        listener = Subscriber(beginning.told, beginning.seen, token)
        self._listeners[job_id].add(listener)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_on())
        try:
            yield format_sse_event(retry=RECONNECT_MS)
            while not (self._closed or listener.refused):
                told, listener.pending = listener.pending, []
                for change in told:
                    yield change.encode()
                if told and told[-1].job.state in OVER:
                    return
                if listener.deleted:
                    yield format_sse_event(event="deleted", data_str=f'{{"id":"{job_id}"}}')
                    return
                with anyio.move_on_after(SILENCE_S) as waiting:
                    await listener.woken.wait()
                listener.woken.clear()
                if waiting.cancelled_caught:
                    yield format_sse_event(comment="nothing new")
        finally:
            self._listeners[job_id].discard(listener)
            if not self._listeners[job_id]:
                del self._listeners[job_id]

    @property
    def listeners(self) -> int:
        """How many there are; any thread may ask."""
        return sum(map(len, list(self._listeners.values())))

    def close(self) -> None:
        """Ends what is being sent: the process is about to stop, and listeners come back to the one after it."""
        self._closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.woken.set()

    async def _look_on(self) -> None:
        look_at_keys = time.monotonic() + KEYS_S
        while self._listeners and not self._closed:
            wanted = {
                job_id: {listener.seen for listener in listeners if not listener.pending}
                for job_id, listeners in self._listeners.items()
            }
            try:
                found = await anyio.to_thread.run_sync(look, self._database, wanted, limiter=self._thread)
            except Exception:  # the database is away for a moment: what changes meanwhile is noted there
                log.exception("cannot look at the jobs that are followed")
                found = {}
            for job_id, changes in found.items():
                for listener in self._listeners.get(job_id, ()):
                    listener.tell(changes)
            if time.monotonic() >= look_at_keys:
                await self._look_at_keys()
                look_at_keys = time.monotonic() + KEYS_S
            await asyncio.sleep(LOOK_S)

    async def _look_at_keys(self) -> None:
        listeners = [each for those in self._listeners.values() for each in those if each.token is not None]
        tokens = {each.token for each in listeners}
        try:
            refused = await anyio.to_thread.run_sync(_refused, self._database, tokens, limiter=self._thread)
        except Exception:  # as above
            log.exception("cannot look at the keys of those who follow jobs")
            return
        for listener in listeners:
            if listener.token in refused:
                listener.refuse()


def _refused(database: Database, tokens: Collection[str]) -> set[str]:
    """Those of the tokens that would not be taken any more."""
    found = set()
    with database.session(write=False) as session:
        for token in tokens:
            try:
                api_keys.find(session, token)
            except Unauthorized:
                found.add(token)
    return found


def look(database: Database, wanted: dict[str, Collection[Cursor]]) -> dict[str, list[Change] | None]:
    """Those of the jobs of which there is more than one of the listeners has seen, with what came since; None: deleted."""
    with database.session(write=False) as session:
        query = select(Job.id, Job.revision, Job.state).where(
            Job.id.in_([job_id for job_id in wanted if wanted[job_id]])
        )
        standing = {row.id: row for row in session.execute(query)}
        places = jobs.queue_positions(session, [row.id for row in standing.values() if row.state == "queued"])
        heard = {
            job_id: min(seen.revision for seen in wanted[job_id])
            for job_id, row in standing.items()
            if any(seen != (row.revision, places.get(job_id)) for seen in wanted[job_id])
        }
        found: dict[str, list[Change] | None] = {
            job_id: None for job_id in wanted if wanted[job_id] and job_id not in standing
        }
        noted = job_events.since(session, heard)
        for job in session.scalars(select(Job).where(Job.id.in_(list(heard)))):
            found[job.id] = _changes(job, noted[job.id], places)
        return found


def _changes(job: Job, noted: list[job_events.JobEvent], places: dict[str, int]) -> list[Change]:
    """What was noted of `job`, and last how it is now."""
    now = serializers.job_with_position(job, places)
    then = [Change(each.name, each.revision, _as_it_was(now, each)) for each in noted]
    if then and then[-1].revision == job.revision:
        return [*then[:-1], then[-1]._replace(job=now)]
    return [*then, Change({"running": "progress", "queued": "queue"}.get(job.state, "state"), job.revision, now)]


def _as_it_was(now: resources.Job, event: job_events.JobEvent) -> resources.Job:
    return resources.Job.model_validate(now.model_dump() | {"queue_position": None} | event.then)
