"""Lock files, by which processes of one machine see each other alive: the kernel lets go of them however one ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from storage.errors import InUse


class HeldLock:
    """A lock file that is held from here until `release` or the end of the process. Raises InUse where another holds it."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise InUse(f"Another process holds {path}.") from None

    def rename(self, path: Path) -> None:
        """Gives the file another name while it is held."""
        self.path = self.path.rename(path)

    def release(self) -> None:
        """Lets go; the file stays."""
        os.close(self._descriptor)


def is_abandoned(path: Path) -> bool:
    """Whether the process that held this lock is gone. A file that is not there (another machine's) tells nothing: False."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


class WorkerLock:
    """A worker's name, and the lock file that tells other workers of this machine that it is alive.

    The file is made under another name first: nobody may see it before it is held.
    """

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder, name
        self._lock = HeldLock(folder / f".{name}")
        self._lock.rename(folder / name)

    def bury(self) -> None:
        """Removes what dead workers left. Only after their jobs were taken from them."""
        for path in self.folder.iterdir():
            starting = path.name.startswith(".")  # made, but not held yet
            if path.name != self.name and not starting and is_abandoned(path):
                path.unlink(missing_ok=True)

    def leave(self) -> None:
        """The end of this worker, when it holds no job any more."""
        self._lock.path.unlink(missing_ok=True)
        self._lock.release()
