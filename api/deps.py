"""Dependencies of routes: settings, database, object store, job events, one transaction per request, and turns, which owners share."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from copy import copy
from typing import Annotated, TypeVar

from anyio import CancelScope, CapacityLimiter, Semaphore, fail_after, to_thread
from fastapi import Depends, Query, Request
from pydantic import Field
from sqlalchemy.orm import Session

from api.problems.problems import Problem
from api.responses.job_events import JobEventHub
from api.schemas.numbers import PLAIN
from storage.database.engine import Database
from storage.errors import StoreAway
from storage.objects.base import ObjectStore
from storage.settings import Settings

WRITERS = 10
"""Requests that may write at the same time; further ones wait without holding a thread.

A request that holds a database lock needs a thread to finish its transaction. If requests that wait for the lock took all
threads (Starlette has 40), none could finish. 10 leaves enough to readers.
"""
READERS = 16
"""Requests whose route reads in a transaction of its own at the same time; further ones wait without holding a thread or a connection.

Such a request has its connection until FastAPI has checked the answer, for which it needs a thread once more. If requests that wait
for a connection took all threads, none could finish. Readers and writers together are fewer than the connections of the database
(storage/database/engine.py), and than the threads.
"""

LOOK_UPS = 8
"""Name look-ups at the same time, in threads of their own; further ones wait without holding a thread. Each takes up to seconds."""
FILES = 16
"""Files that are stored at the same time, in threads of their own: into a bucket, a large one takes minutes."""

OPENINGS = 16
"""Stored files that are opened or read at the same time, in threads of their own: a store that hangs holds each for half a minute."""

PART = 4
"""One owner may have a fourth of each kind of turns at the same time; the other requests of that owner wait, those of others do not."""

WAIT_S = 60.0
"""Seconds that a request waits for its turn: clients and proxies commonly wait as long for a response."""
RETRY_S = 10
"""Retry-After of a request that got no turn."""

T = TypeVar("T")


def _settings(request: Request) -> Settings:
    return request.app.state.settings


def _database(request: Request) -> Database:
    return request.app.state.database


def _store(request: Request) -> ObjectStore:
    return request.app.state.store


def _job_event_hub(request: Request) -> JobEventHub:
    return request.app.state.job_event_hub


SettingsDep = Annotated[Settings, Depends(_settings)]
DatabaseDep = Annotated[Database, Depends(_database)]
StoreDep = Annotated[ObjectStore, Depends(_store)]
JobEventHubDep = Annotated[JobEventHub, Depends(_job_event_hub)]


async def _reader_slot(request: Request) -> AsyncIterator[None]:
    async with _turns(request).reading():
        yield


def _read_session(
    database: DatabaseDep, slot: Annotated[None, Depends(_reader_slot, scope="function")]
) -> Iterator[Session]:
    with database.session(write=False) as session:
        yield session


async def _writer_slot(request: Request) -> AsyncIterator[None]:
    async with _turns(request).slot():
        yield


def _write_session(
    database: DatabaseDep, slot: Annotated[None, Depends(_writer_slot, scope="function")]
) -> Iterator[Session]:
    with database.session() as session:
        yield session


class _Shares:
    """Turns of one kind, of which one owner gets a part: `part` turns, by default a fourth (PART)."""

    def __init__(self, total: int, part: int | None = None):
        self._all, self._part = Semaphore(total), part or total // PART
        self._owners: dict[str, Semaphore] = {}
        self._requests: Counter[str] = Counter()

    @asynccontextmanager
    async def take(self, owner: str) -> AsyncIterator[None]:
        """Waits for a turn of `owner`, which lasts until the block ends. Raises Problem `unavailable` if none comes within WAIT_S."""
        own = self._owners.setdefault(owner, Semaphore(self._part))
        self._requests[owner] += 1
        try:
            async with AsyncExitStack() as turn:
                with _bounded_wait():
                    await turn.enter_async_context(own)
                    await turn.enter_async_context(self._all)
                yield
        finally:
            self._requests[owner] -= 1
            if not self._requests[owner]:
                del self._requests[owner], self._owners[owner]


@contextmanager
def _bounded_wait() -> Iterator[None]:
    try:
        with fail_after(WAIT_S):
            yield
    except TimeoutError as error:
        message = f"The request did not get its turn within {WAIT_S:.0f} s: too many others of this owner, or of all, are in progress."
        raise Problem("unavailable", message, headers={"Retry-After": str(RETRY_S)}) from error


class Turns:
    """The steps of a request that works inside and outside the database: only `write` holds a writer's turn, and neither name
    servers nor the object store hold a transaction, or one of the threads that all requests share.

    A route that takes it is a coroutine, and takes no WriteSession. Each kind of turns is shared by all owners (`PART`).
    """

    def __init__(self, database: Database):
        self._database, self._owner = database, ""
        self._writers, self._readers, self._look_ups = _Shares(WRITERS), _Shares(READERS), _Shares(LOOK_UPS)
        self._files, self._openings = _Shares(FILES), _Shares(OPENINGS)
        self._batches, self._searches = _Shares(FILES, part=1), _Shares(READERS, part=1)
        self._look_up_threads, self._file_threads = CapacityLimiter(LOOK_UPS), CapacityLimiter(FILES)
        self._opening_threads = CapacityLimiter(OPENINGS)

    def of(self, owner: str) -> Turns:
        """Returns the same turns for the requests of `owner`."""
        turns = copy(self)
        turns._owner = owner
        return turns

    async def look_up(self, work: Callable[[], T]) -> T:
        """Runs `work`, which asks name servers."""
        async with self._look_ups.take(self._owner):
            return await to_thread.run_sync(work, limiter=self._look_up_threads)

    async def store(self, work: Callable[[], T]) -> T:
        """Runs `work`, which stores files in the object store."""
        async with self._files.take(self._owner):
            return await to_thread.run_sync(work, limiter=self._file_threads)

    async def read(self, work: Callable[[Session], T]) -> T:
        """Runs `work` in a transaction of its own, which reads."""

        def in_session() -> T:
            with self._database.session(write=False) as session:
                return work(session)

        return await to_thread.run_sync(in_session)

    async def open(self, work: Callable[[], T]) -> T:
        """Runs `work`, which opens or reads a file of the object store."""
        async with self._openings.take(self._owner):
            return await to_thread.run_sync(work, limiter=self._opening_threads)

    async def write(self, work: Callable[[Session], T], *, undo: Callable[[], object] | None = None) -> T:
        """Runs `work` in a transaction of its own, in a writer's turn.

        Args:
            work: What to do.
            undo: Deletes what was stored for it, which nobody names if the turn does not come, or the client leaves before.
        """
        begun = False

        def in_session() -> T:
            nonlocal begun
            begun = True  # from now on, the transaction's own actions clean up
            with self._database.session() as session:
                return work(session)

        try:
            async with self.slot():
                return await to_thread.run_sync(in_session)
        finally:
            if undo is not None and not begun:
                with CancelScope(shield=True), suppress(StoreAway):
                    await to_thread.run_sync(undo, limiter=self._file_threads)

    def batch(self) -> AbstractAsyncContextManager[None]:
        """A turn to carry out a batch: it takes as long as a hundred requests, so an owner has one at a time."""
        return self._batches.take(self._owner)

    def search(self) -> AbstractAsyncContextManager[None]:
        """A turn to search all rows of an owner, which has one at a time."""
        return self._searches.take(self._owner)

    def slot(self) -> AbstractAsyncContextManager[None]:
        """A turn to write, to be held with `async with`."""
        return self._writers.take(self._owner)

    def reading(self) -> AbstractAsyncContextManager[None]:
        """A turn to read, for routes that take a ReadSession; `read` needs none, because its connection waits for nothing."""
        return self._readers.take(self._owner)


def _turns(request: Request) -> Turns:
    caller = getattr(request.state, "caller", None)  # none for links that everybody may open
    return request.app.state.turns.of("" if caller is None else caller.owner)


TurnsDep = Annotated[Turns, Depends(_turns)]


async def _search_slot(request: Request) -> AsyncIterator[None]:
    filters = request.query_params.keys()
    async with AsyncExitStack() as turn:
        if "title" in filters or (filters & {"subject_id", "trash"} and filters & {"state", "kind"}):
            await turn.enter_async_context(_turns(request).search())
        yield


SearchTurn = Annotated[None, Depends(_search_slot, scope="function")]
"""For lists with filters that no index serves, which may read all rows of the owner. Declare it before the session, which waits meanwhile."""

# scope="function": the transaction ends before the response is sent. With the default scope a client could be told that
# something is done before it is durable.
ReadSession = Annotated[Session, Depends(_read_session, scope="function")]
WriteSession = Annotated[Session, Depends(_write_session, scope="function")]

Trash = Annotated[bool, Query(description="those in the trash instead of all others")]
Limit = Annotated[Annotated[int, Field(ge=1, le=100), PLAIN], Query(description="maximum number of items in a page")]
Cursor = Annotated[
    str | None, Query(pattern=r"^[a-z]{3}_[0-9a-f]{1,64}$", description="`next_cursor` of the previous page")
]
