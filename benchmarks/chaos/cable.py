"""A TCP proxy on the loopback address whose connections can be frozen and cut, like a network cable."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

CHUNK = 64 << 10


class Cable:
    """Forwards connections from `port` to `target`, a port of the loopback address, until `close`.

    A frozen cable holds back all bytes and delivers them once it is mended: for both ends, the other one is only slow. A cut
    cable closes its connections and refuses new ones.
    """

    def __init__(self, target: int):
        self.target = target
        self._flowing, self._connected = threading.Event(), True
        self._flowing.set()
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, name="cable", daemon=True).start()

    def freeze(self) -> None:
        """Holds back all bytes until `mend`."""
        self._flowing.clear()

    def cut(self) -> None:
        """Closes all connections, and refuses new ones until `mend`."""
        self._connected = False
        self._drop()

    def mend(self) -> None:
        """Delivers the bytes held back, and accepts connections again."""
        self._connected = True
        self._flowing.set()

    def close(self) -> None:
        """Closes all connections and stops listening."""
        self.cut()
        self._flowing.set()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if not self._connected:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:  # the target is down
                near.close()
                continue
            with self._lock:
                self._ends |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._forward, args=(source, sink), name="cable", daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with source:  # closed here only: a closed socket's number may already belong to another one
            with suppress(OSError):
                while data := source.recv(CHUNK):
                    self._flowing.wait()
                    sink.sendall(data)
            with self._lock:
                self._ends -= {source}
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)  # ends the other direction, too

    def _drop(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, set()
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
