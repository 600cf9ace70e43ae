"""Workspace: a worker's scratch folder, and the way between folders and objects. All of it can be made again.

jobs/<job>/<attempt>/    what one attempt works in; the next one takes it over by renaming it
cache/<key>/             unpacked objects; an object never changes, so neither does its copy here
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.database.models import Job
from storage.errors import ObjectDamaged, StoreFull
from storage.objects.base import ObjectStore

ABANDONED_S = 3600.0


class Workspace:
    """The scratch folder `root` of the workers of one machine, beside the `store`."""

    def __init__(self, root: Path, store: ObjectStore):
        self.jobs = Path(root) / "jobs"
        self.cache = Path(root) / "cache"
        self.store = store

    def attempt(self, job: Job) -> Path:
        """The folder of this attempt, with what the attempt before it left on this machine.

        It is renamed for the attempt, so a process thought dead that still writes cannot reach it. What still earlier
        attempts left was overtaken on another machine.
        """
        mine = self.jobs / job.id / str(job.attempt)
        mine.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            mine.with_name(str(job.attempt - 1)).rename(mine)
        mine.mkdir(exist_ok=True)
        for path in mine.parent.iterdir():
            if path != mine:
                shutil.rmtree(path, ignore_errors=True)
        return mine

    def clear(self, job: Job) -> None:
        """Removes all that attempts of this job left."""
        shutil.rmtree(self.jobs / job.id, ignore_errors=True)

    def push(self, folder: Path, key: str, *, skip: Collection[str] = ()) -> None:
        """Stores `folder` as one object, without its entries named in `skip`. Raises StoreFull."""
        with _scratch(folder.parent) as archive:
            with zipfile.ZipFile(archive, "w") as file:
                for path in sorted(folder.rglob("*")):
                    name = path.relative_to(folder)
                    if path.is_file() and name.parts[0] not in skip:
                        file.write(path, name)
            with archive.open("rb") as packed:
                self.store.put(key, packed)

    def unpack(self, key: str, folder: Path) -> None:
        """Brings what `push` stored to the new `folder`, whole or not at all.

        Raises ObjectMissing, ObjectDamaged, StoreFull.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(folder.parent) as temporary, _scratch(folder.parent) as packed:
            self.store.fetch(key, packed)
            try:
                with zipfile.ZipFile(packed) as file:
                    file.extractall(temporary)
            except zipfile.BadZipFile as error:
                raise ObjectDamaged(f"Object {key} is damaged: it is no archive.") from error
            temporary.rename(folder)

    def folder(self, key: str) -> Path:
        """What `push` stored, only to be read; unpacked once. Raises ObjectMissing, ObjectDamaged, StoreFull."""
        folder = self._cached(key)
        if not folder.exists():
            try:
                self.unpack(key, folder)
            except OSError:
                if not folder.exists():  # else another worker of this machine was faster
                    raise
        return folder

    def keep(self, folder: Path, key: str) -> None:
        """Moves a folder that was just pushed to where `folder` will look for it."""
        self.cache.mkdir(parents=True, exist_ok=True)
        folder.rename(self._cached(key))

    def entries(self) -> list[Path]:
        """All folders of jobs and all copies of objects, but none that is only just being unpacked."""
        new = time.time() - ABANDONED_S
        found = [path for parent in (self.jobs, self.cache) if parent.exists() for path in parent.iterdir()]
        return [path for path in found if not (path.name.startswith(".") and path.stat().st_mtime > new)]

    def remove(self, entries: Collection[Path], *, but_jobs: Collection[str], but_keys: Collection[str]) -> None:
        """Removes these `entries`, except the folders of some jobs and the copies of some objects."""
        kept = {self.jobs / job for job in but_jobs} | {self._cached(key) for key in but_keys}
        for path in entries:
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)

    def key(self, entry: Path) -> str:
        """The key of the object of which `entry` is a copy."""
        return entry.name.replace("+", "/")

    def _cached(self, key: str) -> Path:
        return self.cache / key.replace("/", "+")


@contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A new name in `parent`; what is there at the end of the block is removed."""
    path = parent / f".{secrets.token_hex(6)}"
    try:
        yield path
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull("No space left in the work folder.") from error
        raise
    finally:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            path.unlink()
