"""Receivers of webhooks: real servers on the loopback address with prescribed or faulty responses."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Received(NamedTuple):
    """One received request: path with query, headers by lower-case name, body."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A server that answers each request with the next of `statuses`, and all further ones with the last.

    Attributes:
        url, port: its address.
        received: the requests so far.
        release: while this event is cleared, responses are held back.
    """

    def __init__(
        self,
        *statuses: int,
        tls: ssl.SSLContext | None = None,
        headers: dict[str, str] | None = None,
        answer: bytes | None = None,
    ):
        self.statuses, self.headers, self.answer = list(statuses or (204,)), headers or {}, answer
        self.received: list[Received] = []
        self.release = threading.Event()
        self.release.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 20

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.path, headers, body))
                receiver.release.wait(60)
                status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
                with suppress(OSError):  # the sender may have disconnected
                    self.send_response(status)
                    for name, value in receiver.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if status not in (204, 304):
                        self.wfile.write(f"answer {status}".encode() if receiver.answer is None else receiver.answer)

            def log_message(self, *_):
                """Logs nothing."""

        return Handler


@contextmanager
def misbehaving(behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """Yields the URL of a server that reads once from each connection and then calls `behave(connection)`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, behave))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listener: socket.socket, behave: Callable[[socket.socket], object]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.recv(65536)
            behave(connection)
