"""Bounds on connections: deadlines for the head of a request and for reading a response, and largest numbers, of one address and of all.

uvicorn waits for ever for the rest of a request's head, and for a client that reads nothing, so that strangers could hold all descriptors.
It takes the parser httptools, and a library for WebSockets, wherever they happen to be installed. That parser takes heads of any length,
and any number of requests at once, into memory; a connection that becomes a WebSocket leaves these bounds. Neither is used here.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import struct
import time
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.middleware.client_address import ClientAddresses
from api.middleware.request_shares import PART
from api.requests.multipart import STALL_BYTES, STALL_S

HEAD_S = 20.0
"""Seconds for the head of a request, from its first byte on (of a connection's first request: from connecting on). Slow networks
need a few; more only helps those who never send the rest."""
READ_S, READ_BYTES = STALL_S, STALL_BYTES
"""Seconds in which a client must take so many bytes of what waits for it, or all: as slowly as the service lets a client send."""
UNSENT_BYTES = 64 << 10
"""Bytes that the kernel takes before it sends them: with its own choice, megabytes, a slow client would seem to read nothing for minutes."""
HEAD_BYTES = 64 << 10
"""Largest head of a request: uvicorn's own bound."""
CHUNK_BYTES = 1 << 10
"""Size from which a chunk of a body counts as whole. Each costs the parser some 20 us, however short it is: 256 KiB, which asyncio reads at
once, may hold 43,000 chunks of one byte, for which everybody else would wait a second."""
SMALL_CHUNKS, SMALL_CHUNKS_PER_S = 500, 100
"""Small chunks that a connection may send at once, and in each second: more than a program that sends as it records."""
MOST_LINES = 200
"""Lines of the head of a request, of which browsers and proxies send some twenty. Each costs microseconds, again at every look at a header."""
END_OF_HEAD = re.compile(rb"\n\r?\n")
MAX_CONNECTIONS = 10_000
"""Connections of one process; each costs some ten kilobytes of memory, an event stream about 60."""
TOO_MANY_LINES = f"The head of the request has more than {MOST_LINES} lines."
TOO_SMALL = f"Chunks of the body are too small: send chunks of {CHUNK_BYTES} bytes or more, or a Content-Length."
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


class GuardedParser(h11.Connection):
    """h11's parser, which refuses heads with too many lines, before it parses them, and bodies in too many small chunks.

    Attributes:
        refusal: why it has refused a request; empty if it has not, or as h11 does.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, HEAD_BYTES)
        self.refusal = ""
        self._chunk = 0  # bytes of the present chunk so far, which arrives in one event or in several
        self._allowed, self._counted_at = float(SMALL_CHUNKS), time.monotonic()

    def next_event(self) -> Any:
        """Returns the next event. Raises h11.RemoteProtocolError."""
        if self.their_state is h11.IDLE:
            self._count_lines()
        event = super().next_event()
        if isinstance(event, h11.Data):
            self._chunk = len(event.data) + (0 if event.chunk_start else self._chunk)
            if event.chunk_end:  # bodies with a Content-Length have no chunks
                self._count_chunk(self._chunk)
        return event

    def _count_lines(self) -> None:
        received = self.trailing_data[0]
        end = END_OF_HEAD.search(received)
        if received.count(b"\n", 0, end and end.start()) > MOST_LINES:
            self._refuse(TOO_MANY_LINES)

    def _count_chunk(self, size: int) -> None:
        moment = time.monotonic()
        gained = (moment - self._counted_at) * SMALL_CHUNKS_PER_S
        self._allowed = min(SMALL_CHUNKS, self._allowed + gained) - max(0.0, 1 - size / CHUNK_BYTES)
        self._counted_at = moment
        if self._allowed < 0:
            self._refuse(TOO_SMALL)

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        raise h11.RemoteProtocolError(reason)


class GuardedProtocol(H11Protocol):
    """uvicorn's connection, closed if the head of a request does not arrive in time, if the client does not read, or if there are too many.

    If there are `max_connections`, or a fourth of them from one address, a new one replaces the one (of that address) that has waited
    longest for a request; if all are at work, it is closed. The connections of trusted proxies are those of many clients, so
    only the first bound holds for them.
    """

    max_connections: ClassVar[int]
    addresses: ClassVar[ClientAddresses]
    waiting: ClassVar[dict[GuardedProtocol, None]]
    """The connections without a request in progress, in the order in which they began to wait."""
    by_address: ClassVar[dict[str, dict[GuardedProtocol, None]]]
    """All connections that are not a trusted proxy's, by address, in the order in which they were made."""

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self.ws_protocol_class = None  # whatever is installed
        self.conn = GuardedParser()
        self._address: str | None = None
        self._head_deadline: asyncio.TimerHandle | None = None
        self._read_deadline: asyncio.TimerHandle | None = None
        self._unread = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Starts the deadline of the first request."""
        super().connection_made(transport)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._address = self.addresses.counted_peer(self.client[0] if self.client else "")
        if not self._make_room():
            return
        if self._address is not None:
            self.by_address.setdefault(self._address, {})[self] = None
        self.waiting[self] = None
        self._start_head_deadline()

    def data_received(self, data: bytes) -> None:
        """Ends the deadline once the head is complete; the first bytes of a further request start a new one."""
        super().data_received(data)
        if self._is_working():
            self._stop_waiting()
        elif not self.transport.is_closing():
            self.waiting.setdefault(self, None)
            self._start_head_deadline()

    def send_400_response(self, msg: str) -> None:
        """Tells what is wrong with a request that cannot be parsed, and closes the connection; only closes it if a response has begun."""
        if self.cycle is not None:  # its application sends nothing any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(self.conn.refusal or msg)
        else:
            self.transport.close()

    def pause_writing(self) -> None:
        """Starts the deadline for a client that is slower than the response."""
        super().pause_writing()
        self._start_read_deadline()

    def resume_writing(self) -> None:
        """Ends the deadline."""
        super().resume_writing()
        self._stop_read_deadline()

    def on_response_complete(self) -> None:
        """Lets the connection wait for the next request; uvicorn closes it after its keep-alive time, once the client has read everything."""
        super().on_response_complete()
        if not self._is_working() and self in self.connections:
            self.waiting.setdefault(self, None)
        if self.transport.get_write_buffer_size():
            self._start_read_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._forget()
        super().connection_lost(exc)

    def _make_room(self) -> bool:
        """Closes a connection if there are too many with this one; returns whether this one stays."""
        own = self.by_address.get(self._address, {}) if self._address is not None else {}
        if len(own) >= max(1, self.max_connections // PART):
            oldest = next((each for each in own if each in self.waiting), self)
        elif len(self.connections) > self.max_connections:
            oldest = next(iter(self.waiting), self)
        else:
            return True
        oldest._forget()
        oldest.transport.abort()
        return oldest is not self

    def _forget(self) -> None:
        self._stop_waiting()
        self._stop_read_deadline()
        own = self.by_address.get(self._address, {}) if self._address is not None else {}
        own.pop(self, None)
        if not own:
            self.by_address.pop(self._address, None)

    def _is_working(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _start_head_deadline(self) -> None:
        if self._head_deadline is None:
            self._head_deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def _stop_waiting(self) -> None:
        self.waiting.pop(self, None)
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _start_read_deadline(self) -> None:
        self._stop_read_deadline()
        self._unread = self.transport.get_write_buffer_size()
        self._read_deadline = self.loop.call_later(READ_S, self._check_read)

    def _stop_read_deadline(self) -> None:
        if self._read_deadline is not None:
            self._read_deadline.cancel()
            self._read_deadline = None

    def _check_read(self) -> None:
        """Closes the connection unless the client has taken READ_BYTES since the deadline began, or all."""
        if self.transport.get_write_buffer_size() > max(0, self._unread - READ_BYTES):
            linger = struct.pack("ii", 1, 0)  # the kernel drops what it has not sent; it would keep it for minutes
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
        elif self.transport.get_write_buffer_size():
            self._start_read_deadline()


def guarded_protocol(max_connections: int, addresses: ClientAddresses) -> type[GuardedProtocol]:
    """Returns the class of connections for one server."""
    state = {"max_connections": max_connections, "addresses": addresses, "waiting": {}, "by_address": {}}
    return type("Connection", (GuardedProtocol,), state)
