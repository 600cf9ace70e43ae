"""Bounds on connections: a deadline for the head of a request, a largest number, and enough file descriptors for it.

uvicorn waits for ever for the rest of a request's head, so that strangers with half a request each could hold all descriptors.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any, ClassVar

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_S = 20.0
"""Seconds for the head of a request, from its first byte on (of a connection's first request: from connecting on). Slow networks
need a few; more only helps those who never send the rest."""
MAX_CONNECTIONS = 10_000
"""Connections of one process; each costs some ten kilobytes of memory, an event stream about 60."""
DESCRIPTORS = 2 * MAX_CONNECTIONS
"""File descriptors that the process asks for: connections, and the files and connections that requests need."""


def raise_descriptor_limit() -> int:
    """Raises the limit of file descriptors as far as allowed and needed; returns how many connections are then possible.

    Half of the descriptors stay for the files and the connections that requests open themselves.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
        soft = target
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // 2)


class GuardedProtocol(AutoHTTPProtocol):
    """uvicorn's connection, closed if the head of a request does not arrive in time, or if there are too many.

    If there are `max_connections`, a new one replaces the one that has waited longest for a request; if all are at work, it is closed.
    """

    max_connections: ClassVar[int]
    waiting: ClassVar[dict[GuardedProtocol, None]]
    """The connections without a request in progress, in the order in which they began to wait."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Starts the deadline of the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            oldest = next(iter(self.waiting), self)
            oldest.waiting.pop(oldest, None)
            oldest.transport.abort()
            if oldest is self:
                return
        self.waiting[self] = None
        self._start_deadline()

    def data_received(self, data: bytes) -> None:
        """Ends the deadline once the head is complete; the first bytes of a further request start a new one."""
        super().data_received(data)
        if self._is_working():
            self._stop_waiting()
        elif not self.transport.is_closing():
            self.waiting.setdefault(self, None)
            self._start_deadline()

    def on_response_complete(self) -> None:
        """Lets the connection wait for the next request; uvicorn closes it after its keep-alive time."""
        super().on_response_complete()
        if not self._is_working() and not self.transport.is_closing():
            self.waiting.setdefault(self, None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _is_working(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        self.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def guarded_protocol(max_connections: int) -> type[GuardedProtocol]:
    """Returns the class of connections for one server."""
    return type("Connection", (GuardedProtocol,), {"max_connections": max_connections, "waiting": {}})
