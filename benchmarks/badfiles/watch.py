"""Watching from outside: which files are opened, who is connected to, and how much memory the processes take. Linux only."""

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
TICK_S = 0.02


class Canaries:
    """Files that nobody may open, by the kernel's own word (inotify), and an address that nobody may connect to."""

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
        """The address, as a URL."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def disturbed(self) -> bool:
        """Whether any was, since the last question."""
        seen = False
        with suppress(BlockingIOError):
            seen = bool(os.read(self._inotify, 1 << 16))
        with suppress(BlockingIOError):
            self._listening.accept()[0].close()
            seen = True
        return seen

    def close(self) -> None:
        os.close(self._inotify)
        self._listening.close()


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are there."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def is_ffmpeg(pid: int) -> bool:
    """Whether that is what a process runs; one that was only just forked has its parent's name, and memory."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("ffmpeg")
    return False


def peak_mib(pid: int) -> float:
    """The most memory that a process has had so far, MiB; 0 where it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


class Memory:
    """The peaks of the ffmpeg processes that a process starts, looked at many times a second."""

    def __init__(self, pid: int):
        self.pid = pid
        self._peaks: Counter[int] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def take(self) -> float:
        """The highest since this was last asked, MiB."""
        peaks, self._peaks = self._peaks, Counter()
        return max(peaks.values(), default=0.0)

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stopping.wait(TICK_S):
            peaks = self._peaks
            for child in filter(is_ffmpeg, children(self.pid)):
                peaks[child] = max(peaks[child], peak_mib(child))


@contextmanager
def watching(pid: int) -> Iterator[Memory]:
    """The memory of the ffmpeg processes of `pid`, until the block ends."""
    memory = Memory(pid)
    try:
        yield memory
    finally:
        memory.close()
