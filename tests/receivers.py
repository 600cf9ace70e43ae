"""Receivers of webhooks: real servers on the loopback address that answer as they are told, or misbehave."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Received(NamedTuple):
    """One request: path with query, headers by small name, body."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """Answers each request with the next of `statuses` (the last one again and again), once `release` is set."""

    def __init__(self, *statuses: int, tls: ssl.SSLContext | None = None, headers: dict[str, str] | None = None):
        self.statuses, self.more = list(statuses or (204,)), headers or {}
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
                with suppress(OSError):  # who asked may be gone
                    self.send_response(status)
                    for name, value in receiver.more.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if status not in (204, 304):
                        self.wfile.write(f"answer {status}".encode())

            def log_message(self, *_):
                """Says nothing."""

        return Handler


@contextmanager
def misbehaving(behave: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server that reads what it is sent once and then does what `behave` says with the connection; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_serve, args=(listening, behave))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(listening: socket.socket, behave: Callable[[socket.socket], object]) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.recv(65536)
            behave(connection)
