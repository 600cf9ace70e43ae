"""Bodies that are arriving at this process: they count against their owner's storage quota before they are stored, and an upload has one
writer at a time.

Each API process knows its own bodies only. What is stored is counted in the database, by all (storage/tables/quotas.py).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio import to_thread
from fastapi import Request

from api.problems.problems import Problem
from api.requests.quota_precheck import is_repeated
from storage.database.engine import Database
from storage.errors import QuotaExceeded
from storage.settings import Settings
from storage.tables import quotas

CHECK_BYTES = 8 << 20
"""Bytes of an owner after whose arrival the quota is checked again: by so much, and no more, it can be exceeded for a moment."""
SILENCE_S = 5.0
"""Seconds of waiting for the sender after which another request may continue the upload: a connection that broke unnoticed must not
lock it for a minute."""


class Arrival:
    """The body of one request. Only the event loop uses it.

    Attributes:
        waits_since: When the service began to wait for the sender (time.monotonic); None while it works.
        scope: Ends the request when another one takes over.
    """

    def __init__(self, arrivals: Arrivals, request: Request):
        self.waits_since: float | None = None
        self.scope = anyio.CancelScope()
        self._arrivals, self._request, self._size = arrivals, request, 0
        self.owner: str = request.state.caller.owner

    async def add(self, size: int) -> None:
        """Counts bytes that have arrived. Raises QuotaExceeded if the owner has no room for all that is arriving."""
        self._size += size
        if self._arrivals.count(self.owner, size):
            await to_thread.run_sync(self._arrivals.check, self._request, self.owner)

    def remove(self, size: int | None = None) -> None:
        """Ends the count of bytes (by default all): they are being counted as stored, or are gone."""
        size = self._size if size is None else size
        self._size -= size
        self._arrivals.count(self.owner, -size)


class Arrivals:
    """The bodies with files that are arriving at this process, by owner."""

    def __init__(self, settings: Settings, database: Database):
        self._settings, self._database = settings, database
        self._bytes: Counter[str] = Counter()
        self._unchecked: Counter[str] = Counter()
        self._writers: dict[tuple[str, str], Arrival] = {}

    @contextmanager
    def receive(self, request: Request) -> Iterator[Arrival]:
        """Counts the body of `request` until the block ends."""
        arrival = Arrival(self, request)
        try:
            yield arrival
        finally:
            arrival.remove()

    @contextmanager
    def write(self, request: Request, upload_id: str) -> Iterator[Arrival]:
        """Counts the body of `request` as the next bytes of an upload, which nobody else writes until the block ends.

        Raises Problem `upload_locked` if another request is writing it, or takes over because no bytes come.
        """
        key = request.state.caller.owner, upload_id
        earlier = self._writers.get(key)
        if earlier is not None:
            if earlier.waits_since is None or time.monotonic() - earlier.waits_since < SILENCE_S:
                raise Problem("upload_locked", headers={"Retry-After": str(round(SILENCE_S))})
            earlier.scope.cancel()
        with self.receive(request) as arrival:
            self._writers[key] = arrival
            try:
                with arrival.scope:
                    yield arrival
            finally:
                if self._writers.get(key) is arrival:
                    del self._writers[key]
            if arrival.scope.cancelled_caught:
                raise Problem("upload_locked", "Another request continues this upload.")

    def count(self, owner: str, size: int) -> bool:
        """Counts bytes of an owner, negative ones that are not arriving any more; returns whether the quota is to be checked."""
        self._bytes[owner] += size
        self._unchecked[owner] += max(0, size)
        due = self._unchecked[owner] >= CHECK_BYTES
        if due or not self._bytes[owner]:
            del self._unchecked[owner]
        if not self._bytes[owner]:
            del self._bytes[owner]
        return due

    def check(self, request: Request, owner: str) -> None:
        """Raises QuotaExceeded if what an owner has stored, and what is arriving, is more than the quota allows.

        A repeated request stores nothing, so what the first one has stored leaves room for it.
        """
        with self._database.session(write=False) as session:
            quota = quotas.usage(session, self._settings, owner, ["stored_bytes"])["stored_bytes"]
            used = 0 if is_repeated(request, session, owner) else quota.used
        if used + self._bytes[owner] > quota.limit:
            raise QuotaExceeded("stored_bytes", quota.limit, quotas.REMEDIES["stored_bytes"])
