"""Wall clocks of processes that leap while the processes run, as after a suspend or when a machine's clock is set.

libfaketime, loaded into a process (LD_PRELOAD), adds an offset from a file to each reading of the wall clock. The monotonic clock
stays as it is: Linux does not count a suspend in it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import threading
from collections import defaultdict
from pathlib import Path

from tests.servers import ServerMissing

SHARED_MEMORY = Path("/dev/shm")
"""Folder in which libfaketime creates two files per process; those of killed processes remain."""


class Clocks:
    """The wall clocks of all processes of a machine, each below a name.

    Args:
        folder: for the offsets; every user may read it, because PostgreSQL runs as another user than root.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
        self._all, self._own = 0.0, defaultdict[str, float](float)
        self._lock = threading.Lock()
        self.library: Path | None = None
        if spec := importlib.util.find_spec("libfaketime"):
            source = Path(spec.origin).parent / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"
            self.library = Path(shutil.copy(source, folder))  # PostgreSQL's user may not enter the environment's folder

    def environment(self, name: str) -> dict[str, str]:
        """Returns the variables that give a new process the clock `name`; none if libfaketime is not installed."""
        if self.library is None:
            return {}
        with self._lock:
            self._write(name)
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.folder / name),
            "FAKETIME_CACHE_DURATION": "0",  # the file is read when a new second begins; each time would be 20 times slower
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # otherwise threads that wait for Python's lock wake without end
            "NO_FAKE_STAT": "1",  # times of files are those of the kernel, for all processes
        }

    def leap(self, seconds: float, name: str | None = None) -> None:
        """Moves the clock `name`, or all of them, forward or back. Raises ServerMissing if libfaketime is not installed."""
        if self.library is None:
            raise ServerMissing("There is no libfaketime to move clocks: `make test-env` installs it (libfaketime).")
        with self._lock:
            if name is None:
                self._all += seconds
            else:
                self._own[name] += seconds
            for one in self._own if name is None else (name,):
                self._write(one)

    def close(self) -> None:
        """Removes what libfaketime has left behind of processes that were killed."""
        for pattern in ("faketime_shm_*", "sem.faketime_sem_*"):
            for path in SHARED_MEMORY.glob(pattern):
                if not Path("/proc", path.name.rpartition("_")[2]).exists():
                    path.unlink(missing_ok=True)

    def _write(self, name: str) -> None:
        path, new = self.folder / name, self.folder / f".{name}"
        new.write_text(f"{self._all + self._own[name]:+.3f}s\n")
        new.chmod(0o644)
        os.replace(new, path)  # a process that reads it at this moment sees the old or the new offset
