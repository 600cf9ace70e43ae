"""A worker's scratch folder, and the packing of folders as objects. All files in it can be made again.

jobs/<job>/<attempt>/    working folder of one attempt; the next attempt takes it over by renaming it
cache/<key>/             unpacked objects; an object never changes, so neither does its copy here
unfinished/<random>/     what a living process works on, which holds the lock in it; the sweep removes it once the process has ended
"""

from __future__ import annotations

import errno
import secrets
import shutil
import time
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from storage.database.models import Job
from storage.errors import ObjectDamaged, StoreFull
from storage.objects.base import ObjectStore
from worker.locks import HeldLock, is_abandoned

ABANDONED_S = 3600.0
"""Age from which a hidden folder counts as left by a process that was killed: it is there for a moment, and with an earlier version, which
unpacked the largest run in it, for minutes."""
ROOM_BYTES, ROOM_SHARE = 256 << 20, 0.05
"""Free space, or share of a small disk, without which a worker begins no job: most jobs need as much, and all that are queued would fail
one after the other. It is more than files may fill (RESERVE_BYTES of storage/objects/base.py)."""
DOOMED = ".doomed-"
"""Beginning of the names of folders that are being removed."""
LOCK = "lock"
"""The lock file of a folder in `unfinished`."""


class Workspace:
    """The scratch folder `root`, shared by the workers of one machine, beside the object store."""

    def __init__(self, root: Path, store: ObjectStore):
        self.jobs = Path(root) / "jobs"
        self.cache = Path(root) / "cache"
        self.unfinished = Path(root) / "unfinished"
        self.store = store

    def attempt(self, job: Job) -> Path:
        """Returns the folder of this attempt, with the files that the attempt before it left on this machine.

        The folder is renamed for the attempt, so that a process that was taken for dead and still writes cannot reach it.
        Folders of earlier attempts are removed: another machine has gone further since. A folder of a later attempt stays: that
        attempt has taken the job over.
        """
        folder = self.jobs / job.id / str(job.attempt)
        while not folder.exists():
            # Again if the worker of the attempt before removes the empty folder of the job at this moment.
            with suppress(FileNotFoundError):
                folder.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):
                    folder.with_name(str(job.attempt - 1)).rename(folder)
                folder.mkdir(exist_ok=True)
        for path in folder.parent.iterdir():
            if path.name.isdecimal() and int(path.name) < job.attempt:
                shutil.rmtree(path, ignore_errors=True)
        return folder

    def clear(self, job: Job) -> None:
        """Removes the folder of this attempt, and nothing that a later attempt has taken over."""
        # Renamed first, so that a later attempt takes over either the whole folder or nothing.
        doomed = self.jobs / f"{DOOMED}{secrets.token_hex(6)}"
        with suppress(FileNotFoundError):
            (self.jobs / job.id / str(job.attempt)).rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)
        with suppress(OSError):  # the folder of another attempt, or there is none
            (self.jobs / job.id).rmdir()

    def upload_folder(self, folder: Path, key: str, *, skip: Collection[str] = ()) -> None:
        """Stores `folder` as one object (a ZIP without compression).

        Args:
            key: of the new object.
            skip: names of entries directly in `folder` that are left out.

        Raises:
            StoreFull: the disk or the store has no space left.
        """
        with self.temporary() as archive:
            with zipfile.ZipFile(archive, "w") as file:
                for path in sorted(folder.rglob("*")):
                    name = path.relative_to(folder)
                    if path.is_file() and name.parts[0] not in skip:
                        file.write(path, name)
            with archive.open("rb") as packed:
                self.store.put(key, packed)

    def download_folder(self, key: str, folder: Path) -> None:
        """Unpacks an object of `upload_folder` to the new `folder`, whole or not at all.

        Raises:
            ObjectMissing, ObjectDamaged: there is no such object, or it is not a ZIP.
            StoreFull: the disk has no space left.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with self.temporary() as temporary, self.temporary() as packed:
            self.store.fetch(key, packed)
            try:
                with zipfile.ZipFile(packed) as file:
                    file.extractall(temporary)
            except zipfile.BadZipFile as error:
                raise ObjectDamaged("A stored file is damaged: it is no archive.", details=key) from error
            temporary.rename(folder)

    def cached_folder(self, key: str) -> Path:
        """Returns an unpacked copy of an object of `upload_folder`, to be read only; it is unpacked once.

        Raises:
            ObjectMissing, ObjectDamaged, StoreFull: see `download_folder`.
        """
        folder = self._cached(key)
        if not folder.exists():
            try:
                self.download_folder(key, folder)
            except OSError:
                if not folder.exists():  # otherwise another worker of this machine was faster
                    raise
        return folder

    def cache_folder(self, folder: Path, key: str) -> None:
        """Moves a folder that was just uploaded into the cache."""
        self.cache.mkdir(parents=True, exist_ok=True)
        folder.rename(self._cached(key))

    def has_room(self, *, besides: Job | None = None) -> bool:
        """Returns whether the disk has space to begin a job, besides the cache; `besides` what this job has in its folder.

        If only the cache takes the space, jobs go on, and one that needs more fails and says so: waiting would not help it.
        """
        self.jobs.mkdir(parents=True, exist_ok=True)
        disk = shutil.disk_usage(self.jobs)
        needed = min(ROOM_BYTES, ROOM_SHARE * disk.total)
        if disk.free >= needed:
            return True
        own = 0
        folders = [self.cache] if besides is None else [self.cache, self.jobs / besides.id]
        for path in chain.from_iterable(folder.rglob("*") for folder in folders):
            with suppress(FileNotFoundError):  # such as one that a thread which was left to a hung store removes now
                own += path.stat(follow_symlinks=False).st_size
        return disk.free + own >= needed

    @contextmanager
    def temporary(self) -> Iterator[Path]:
        """Yields a new path. What is there at the end of the block is removed; if this process is killed before, by the next sweep.

        Raises:
            StoreFull: the disk has no space left.
        """
        name = secrets.token_hex(6)
        hidden, folder = self.unfinished / f".{name}", self.unfinished / name
        lock = None
        try:
            hidden.mkdir(parents=True)
            lock = HeldLock(hidden / LOCK)
            hidden.rename(folder)  # nobody sees it before the lock is held
            yield folder / "content"
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull("No space left in the work folder.") from error
            raise
        finally:
            # The lock, which is in `folder`, goes last: without it nobody would find the content.
            for path in (folder / "content", hidden, folder):
                path.unlink(missing_ok=True) if path.is_file() else shutil.rmtree(path, ignore_errors=True)
            if lock is not None:
                lock.release()

    def remove_abandoned(self) -> None:
        """Removes at once what processes of this machine have left that were killed: it may show or sound like a person."""
        begun = self.unfinished.iterdir() if self.unfinished.exists() else ()
        named = [path for path in begun if not path.name.startswith(".")]
        left = [path for path in named if is_abandoned(path / LOCK) or not (path / LOCK).exists()]
        doomed = self.jobs.glob(f"{DOOMED}*") if self.jobs.exists() else ()
        for path in (*left, *doomed):
            shutil.rmtree(path, ignore_errors=True)

    def entries(self) -> list[Path]:
        """Lists the folders of jobs, the cached objects and what was left unfinished, without what is in use."""
        paths = [path for parent in (self.jobs, self.cache) if parent.exists() for path in parent.iterdir()]
        paths += self.unfinished.glob(".*") if self.unfinished.exists() else ()
        return [path for path in paths if not (path.name.startswith(".") and _is_active(path))]

    def remove(self, entries: Collection[Path], *, but_jobs: Collection[str], but_keys: Collection[str]) -> None:
        """Removes `entries`, except the folders of the jobs `but_jobs` and the copies of the objects `but_keys`."""
        needed = {self.jobs / job for job in but_jobs} | {self._cached(key) for key in but_keys}
        for path in entries:
            if path not in needed:
                shutil.rmtree(path, ignore_errors=True)

    def key(self, entry: Path) -> str:
        """Returns the key of the object that `entry` is a copy of."""
        return entry.name.replace("+", "/")

    def _cached(self, key: str) -> Path:
        return self.cache / key.replace("/", "+")


def _is_active(path: Path) -> bool:
    """Returns whether a hidden entry is in use, or was removed a moment ago."""
    try:
        return path.stat().st_mtime > time.time() - ABANDONED_S
    except FileNotFoundError:
        return True
