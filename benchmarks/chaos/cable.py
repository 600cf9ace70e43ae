"""A network cable that can be frozen and cut: a small TCP proxy on the loopback address."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

CHUNK = 64 << 10


class Cable:
    """Leads from `port` to `target`, a port of the loopback address, until `close`.

    Frozen, it holds back every byte, and delivers all of them once it is mended: to both ends the other only seems slow.
    Cut, its connections are gone and new ones are refused.
    """

    def __init__(self, target: int):
        self.target = target
        self._flows, self._whole = threading.Event(), True
        self._flows.set()
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, name="cable", daemon=True).start()

    def freeze(self) -> None:
        """From now on nothing arrives."""
        self._flows.clear()

    def cut(self) -> None:
        """From now on there is no connection."""
        self._whole = False
        self._drop()

    def mend(self) -> None:
        """All is well again."""
        self._whole = True
        self._flows.set()

    def close(self) -> None:
        """The end of it."""
        self.cut()
        self._flows.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # what it leads to is down
                near.close()
                continue
            with self._lock:
                self._ends |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, sink), name="cable", daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with source:  # only here: its number may be another socket's as soon as it is closed
            with suppress(OSError):
                while data := source.recv(CHUNK):
                    self._flows.wait()
                    sink.sendall(data)
            with self._lock:
                self._ends -= {source}
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)  # ends the other direction too

    def _drop(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
