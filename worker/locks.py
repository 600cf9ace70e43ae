"""Lock files by which processes of one machine know that another one is alive.

The kernel releases a flock(2) lock however its process ends. The package filelock is not used here: it creates a file to test
a lock, it cannot rename a held one, and it falls back to marker files, which outlive a killed process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import InUse
from storage.private_files import require_file


class HeldLock:
    """A lock file that this process holds until `release` or until it ends.

    Raises:
        InUse: another process holds it.
        OSError: something else is in its place, or it cannot be opened.
    """

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        require_file(path, links=False)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise InUse(f"Another adnerf process uses this data folder (it holds {path}).") from None

    def rename(self, path: Path) -> None:
        """Renames the file while it is held."""
        self.path = self.path.rename(path)

    def release(self) -> None:
        """Releases the lock; the file stays."""
        os.close(self._descriptor)


def is_abandoned(path: Path) -> bool:
    """Returns True if the process that held this lock file is gone.

    A missing file belongs to a worker of another machine, and one that cannot be opened to another user's: nothing is known of these, False.
    """
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class WorkerLock:
    """The lock file `folder`/`name` that shows other workers of this machine that worker `name` is alive.

    The file is created under a temporary name and renamed once it is held, so that no process sees it unheld.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name
        self._lock = HeldLock(folder / f".{name}")
        self._lock.rename(folder / name)

    def remove_dead(self) -> None:
        """Removes the files of dead workers; call it only after their jobs have returned to the queue."""
        for path in self.folder.glob("*"):  # nothing, if somebody has removed the folder
            is_starting = path.name.startswith(".")  # created, but not held yet
            if path.name != self.name and not is_starting and is_abandoned(path):
                path.unlink(missing_ok=True)

    def release(self) -> None:
        """Removes the file and releases the lock; the worker must hold no job any more."""
        self._lock.path.unlink(missing_ok=True)
        self._lock.release()
