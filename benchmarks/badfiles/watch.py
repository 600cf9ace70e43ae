"""Observes the service from outside: access to forbidden files and addresses, and the memory of processes. Linux only."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

IN_ACCESS, IN_OPEN, IN_NONBLOCK = 0x1, 0x20, 0o4000
"""Constants of inotify (<sys/inotify.h>)."""
SAMPLE_S = 0.02
"""Seconds between two samples of the memory; a process that ends between two of them is missed."""


class Canaries:
    """Files that the service must not open, which the kernel reports (inotify), and an address that it must not connect to."""

    def __init__(self, paths: Iterable[Path]):
        libc = ctypes.CDLL(None, use_errno=True)
        self._inotify = libc.inotify_init1(IN_NONBLOCK)
        for path in paths:
            if libc.inotify_add_watch(self._inotify, bytes(path), IN_OPEN | IN_ACCESS) < 0:
                raise OSError(ctypes.get_errno(), f"{path} cannot be watched")
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)

    @property
    def address(self) -> str:
        """The URL of the address."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def accessed(self) -> bool:
        """Returns whether a file was opened or the address connected to since the last call."""
        accessed = False
        with suppress(BlockingIOError):
            accessed = bool(os.read(self._inotify, 1 << 16))
        with suppress(BlockingIOError):
            self._listening.accept()[0].close()
            accessed = True
        return accessed

    def close(self) -> None:
        """Ends the observation."""
        os.close(self._inotify)
        self._listening.close()


def children(pid: int) -> list[int]:
    """Returns the ids of the live child processes of a process."""
    pids: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return pids


def is_ffmpeg(pid: int) -> bool:
    """Returns whether a process runs ffmpeg. A process that was just forked still has the name and the memory of its parent."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("ffmpeg")
    return False


def peak_mib(pid: int) -> float:
    """Returns the peak memory of a process so far, MiB; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


class Memory:
    """Samples the peak memory of the ffmpeg processes that a process starts, every SAMPLE_S seconds."""

    def __init__(self, pid: int):
        self.pid = pid
        self._peaks: Counter[int] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()

    def peak_since_last_call(self) -> float:
        """Returns the highest peak since the last call, MiB."""
        peaks, self._peaks = self._peaks, Counter()
        return max(peaks.values(), default=0.0)

    def close(self) -> None:
        """Ends the sampling."""
        self._stopping.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_S):
            peaks = self._peaks
            for child in filter(is_ffmpeg, children(self.pid)):
                peaks[child] = max(peaks[child], peak_mib(child))


@contextmanager
def watching(pid: int) -> Iterator[Memory]:
    """Yields a Memory of the ffmpeg processes that `pid` starts; it samples until the block ends."""
    memory = Memory(pid)
    try:
        yield memory
    finally:
        memory.close()
