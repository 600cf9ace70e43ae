"""Signs of life of processes, by which a supervisor outside them notices one that hangs as a whole.

The protocol is that of systemd's watchdog (sd_notify(3)): a datagram with WATCHDOG=1 to the socket in NOTIFY_SOCKET. The supervisor
of this package offers such a socket to its children (worker/processes/supervisor.py), and reports to that of systemd itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from storage.settings import Settings, notify_socket

FOLDER = "adnerf-notify-"
"""Beginning of the names of the folders of sockets, in the temporary folder. The data folder is none for them: it may be a network's or a
virtual machine's, which has no sockets, and the path of a socket is short."""
MAX_ADDRESS_BYTES = 107
"""Longest path of a socket (unix(7)), without the byte that ends it."""
LONGEST_INTERVAL_S = 1.0
"""Longest time between two signs of life; each costs microseconds."""


class RunningClock:
    """Measures the time for which this process runs: a pause counts as `longest_step_s` at most.

    A pause is a time in which the process, and usually its neighbours too, did not run: the machine slept, a virtual machine or
    container was paused, or signals stopped all processes. Whoever waits for a neighbour by this clock gives it time to report
    after a pause, and wall clocks that are set do not matter.

    Args:
        longest_step_s: the most that the clock advances between two calls of `advance`.
        clock: seconds that never go back.
    """

    def __init__(self, longest_step_s: float, clock: Callable[[], float] = time.monotonic):
        self.longest_step_s, self.clock = longest_step_s, clock
        self.time = 0.0
        self._last = clock()

    def advance(self) -> float:
        """Returns the time in seconds; call it regularly."""
        now = self.clock()
        self.time += min(now - self._last, self.longest_step_s)
        self._last = now
        return self.time


def slept_s() -> float:
    """Returns the seconds for which this machine has slept since it was started; 0 where the system does not tell (Linux does)."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class WatchdogSocket:
    """The socket of a supervisor. Its folder is private: other users cannot send signs of life, or fill the socket's queue.

    A cleanup of the temporary folder may remove it; then no sign of life arrives, and `senders` creates it again. The folder of a supervisor
    that was killed stays, until another one of the same user starts.
    """

    def __init__(self):
        parent = tempfile.gettempdir()
        if len(os.fsencode(parent)) + len(f"/{FOLDER}12345678/notify") > MAX_ADDRESS_BYTES:
            parent = "/tmp"
        _remove_abandoned(Path(parent))
        self._folder = tempfile.TemporaryDirectory(prefix=FOLDER, dir=parent)
        self.address = str(Path(self._folder.name) / "notify")
        self._bind()

    def senders(self) -> Iterator[int]:
        """Yields the process ids in the signs of life that have arrived since the last call; never waits."""
        if not os.path.exists(self.address):
            self._socket.close()
            self._bind()
        with suppress(BlockingIOError):
            while True:
                if found := re.search(rb"^X_ADNERF_PID=(\d+)$", self._socket.recv(4096), re.MULTILINE):
                    yield int(found[1])

    def _bind(self) -> None:
        Path(self.address).parent.mkdir(mode=0o700, exist_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address)

    def close(self) -> None:
        """Removes the socket."""
        self._socket.close()
        self._folder.cleanup()


def _remove_abandoned(parent: Path) -> None:
    """Removes the folders of this user's supervisors that have ended: their sockets are there, but nobody listens."""
    for folder in parent.glob(f"{FOLDER}*"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            if folder.stat(follow_symlinks=False).st_uid != os.geteuid():
                continue
            try:
                probe.connect(str(folder / "notify"))
            except ConnectionRefusedError:
                shutil.rmtree(folder, ignore_errors=True)


def notify() -> None:
    """Sends a sign of life, if there is a supervisor; never waits."""
    address = notify_socket()
    if not address:
        return
    if address.startswith("@"):  # systemd's notation for an address that is no file
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, suppress(OSError):
        sender.setblocking(False)
        sender.sendto(b"WATCHDOG=1\nX_ADNERF_PID=%d" % os.getpid(), address)


def start_notifying(settings: Settings) -> None:
    """Starts a thread that sends signs of life as long as this process runs, its threads get their turns, and its data folder answers.

    Work that lasts, an absent database or an absent broker does not silence it: a restart would mend none of these.
    """

    def repeat() -> None:
        while True:
            with suppress(OSError):  # an error is an answer; a dead network file system gives none
                os.statvfs(settings.data_dir)
            notify()
            time.sleep(_interval_s(settings))

    threading.Thread(target=repeat, name="watchdog", daemon=True).start()


async def keep_notifying(settings: Settings) -> None:
    """Sends signs of life as long as the event loop runs."""
    while True:
        await asyncio.sleep(_interval_s(settings))
        notify()


def _interval_s(settings: Settings) -> float:
    return min(LONGEST_INTERVAL_S, settings.watchdog_s / 5)
