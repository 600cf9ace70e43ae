"""LocalStore: objects as files in a folder."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from storage.durable_files import make_folder, publish, sync
from storage.errors import EmptyFile, NotDeleted, ObjectDamaged, ObjectMissing, StoreAway
from storage.objects.base import CHUNK_BYTES, IncomingFile, Stored, check_key, check_prefix, disk_full_is_store_full

LOST_AND_FOUND = "lost+found"
"""The folder of the superuser at the top of a disk, which others may not read."""


class LocalStore:
    """An object store (storage/objects/base.py) in the folder `root`.

    Every object is first written to a file whose name begins with a dot, which no key may have, and then renamed.
    """

    def __init__(self, root: Path):
        self.root = Path(root)

    def put(self, key: str, source: BinaryIO) -> Stored:
        """See ObjectStore.put."""
        with self.create_incoming() as incoming:
            incoming.copy_from(source)
            return self.put_incoming(key, incoming)

    def create_incoming(self, *, hashed: bool = True) -> IncomingFile:
        """See ObjectStore.create_incoming."""
        path = self.root / f".incoming-{secrets.token_hex(6)}"
        with disk_full_is_store_full():
            make_folder(self.root)
            file = path.open("x+b", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed: `delete_unfinished` leaves a file that still arrives
            return IncomingFile(file, path, hashed=hashed)

    def put_incoming(self, key: str, incoming: IncomingFile) -> Stored:
        """See ObjectStore.put_incoming."""
        path = self._path(key)
        with incoming, disk_full_is_store_full():
            if incoming.size == 0:
                raise EmptyFile("The file is empty.")
            os.fsync(incoming.file.fileno())
            make_folder(path.parent)
            # Its age counts from now on: its last byte may have come long ago, and its row is not written yet.
            os.utime(incoming.path)
            _move(incoming.path, path)
            sync(path.parent)
        return Stored(key, incoming.size, incoming.sha256)

    def put_joined(self, key: str, part_keys: Sequence[str]) -> Stored:
        """See ObjectStore.put_joined."""
        with self.create_incoming() as incoming:
            for part_key in part_keys:
                with self.open(part_key) as part:
                    incoming.copy_from(part)
            return self.put_incoming(key, incoming)

    def open(self, key: str) -> BinaryIO:
        """See ObjectStore.open."""
        with _missing_is_object_missing(key):
            return self._file(key).open("rb")

    def fetch(self, key: str, path: Path) -> None:
        """See ObjectStore.fetch."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with _missing_is_object_missing(key), disk_full_is_store_full():
            try:
                os.link(self._file(key), path)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                _copy(self._path(key), path)  # another disk, or one without hard links

    def size(self, key: str) -> int:
        """See ObjectStore.size."""
        with _missing_is_object_missing(key):
            return self._path(key).stat().st_size

    def exists(self, key: str) -> bool:
        """See ObjectStore.exists."""
        return self._path(key).is_file()

    def delete(self, *keys: str) -> None:
        """See ObjectStore.delete."""
        with _errors_are_not_deleted() as attempt:
            for key in keys:
                attempt(self._path(key).unlink)

    def delete_prefix(self, prefix: str) -> None:
        """See ObjectStore.delete_prefix."""
        with _errors_are_not_deleted() as attempt:
            for parent, folders, files in os.walk(
                self.root / check_prefix(prefix), topdown=False, onerror=attempt.note
            ):
                for path in (Path(parent, name) for name in (*files, *folders)):
                    attempt(path.unlink if path.is_symlink() or not path.is_dir() else path.rmdir)
            attempt((self.root / prefix).rmdir)

    def move(self, key: str, new_key: str) -> None:
        """See ObjectStore.move."""
        path, target = self._path(key), self._path(new_key)
        with _missing_is_object_missing(key), disk_full_is_store_full():
            os.utime(path)  # first: a process that is killed in between must not leave an old object under the new key
            make_folder(target.parent)
            os.replace(path, target)
        sync(target.parent)

    def keys(self, *, older_than_s: float, after: str = "", prefix: str = "") -> Iterator[str]:
        """See ObjectStore.keys."""
        latest = time.time() - older_than_s
        folder = self.root / check_prefix(prefix) if prefix else self.root
        for path in _walk(folder, after.removeprefix(prefix).split("/")):
            if _is_file_older(path, latest):
                yield path.relative_to(self.root).as_posix()

    def delete_unfinished(self, *, older_than_s: float) -> int:
        """See ObjectStore.delete_unfinished."""
        latest = time.time() - older_than_s
        unfinished = [path for path in self.root.rglob(".*") if _is_file_older(path, latest) and not _is_held(path)]
        for path in unfinished:
            path.unlink(missing_ok=True)
        return len(unfinished)

    def link(self, key: str, *, name: str, media_type: str) -> str | None:
        """See ObjectStore.link."""
        return None

    def ping(self) -> None:
        """See ObjectStore.ping."""
        try:
            make_folder(self.root)
            os.listdir(self.root)
        except OSError as error:
            raise StoreAway("The object store's folder cannot be read.", details=error) from error

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    def _file(self, key: str) -> Path:
        """Returns the path of an object that is opened.

        Raises:
            ObjectDamaged: it is no file, such as a named pipe, which whoever reads it would wait for.
            FileNotFoundError: there is none.
        """
        path = self._path(key)
        if not stat.S_ISREG(path.stat().st_mode):
            raise ObjectDamaged("A stored file is something else than a file.", details=key)
        return path


class _Attempts:
    """Deletions, all of which are tried although some fail; `error` is the last error."""

    def __init__(self) -> None:
        self.error: OSError | None = None

    def __call__(self, delete: Callable[[], object]) -> None:
        """Calls `delete`. What is gone already, or a folder in which something has just been stored, is no error."""
        try:
            delete()
        except OSError as error:
            self.note(error)

    def note(self, error: OSError) -> None:
        """Takes an error."""
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY):
            self.error = error


@contextmanager
def _errors_are_not_deleted() -> Iterator[_Attempts]:
    attempts = _Attempts()
    yield attempts
    if attempts.error is not None:
        raise NotDeleted(
            "Something in the object store cannot be deleted.",
            "Correct the permissions of the object store's folder, or look at its disk.",
            details=attempts.error,
        )


def _walk(folder: Path, after: list[str]) -> Iterator[Path]:
    """Yields all files below `folder`, ordered by the parts of their paths, that come after the path with the parts `after`."""
    with suppress(FileNotFoundError):  # the folder may be deleted meanwhile
        for name in sorted(os.listdir(folder)):
            if name.startswith(".") or name == LOST_AND_FOUND or (after and name < after[0]):
                continue
            path, rest = folder / name, after[1:] if after and name == after[0] else []
            if path.is_dir():
                yield from _walk(path, rest)
            elif not after or name > after[0]:
                yield path


def _is_file_older(path: Path, latest: float) -> bool:
    """Whether `path` is a file that was last written at the time `latest` or before."""
    with suppress(FileNotFoundError):
        return path.is_file() and path.stat().st_mtime <= latest
    return False


def _is_held(path: Path) -> bool:
    """Whether a process still writes the incoming file at `path`."""
    with suppress(FileNotFoundError), path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def _missing_is_object_missing(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing("A stored file does not exist any more.", details=key) from error


def _move(source: Path, target: Path) -> None:
    """Renames a synced file, or copies it if `target` lies on another file system."""
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """Copies a file to the disk of `target`, where it appears complete and synced, or not at all."""
    copy = target.with_name(f".{target.name}.{secrets.token_hex(6)}")
    try:
        with source.open("rb") as reading, copy.open("xb") as writing:
            shutil.copyfileobj(reading, writing, CHUNK_BYTES)
        publish(copy, target)
    finally:
        copy.unlink(missing_ok=True)
