"""The object store: files by key. LocalStore keeps them in a folder.

A key is a relative path such as `subjects/sub_1/source`. An object never changes once it is there: new content gets a
new key, and the row that names the key is what makes it visible.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.errors import EmptyFile, FileTooLarge, ObjectMissing, StoreFull

CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """What `put` wrote: key, size in bytes, and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


class LocalStore:
    """An object store in the folder `root`. Every object is there whole or not at all."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def put(self, key: str, source: BinaryIO, *, limit: int | None = None) -> Stored:
        """Copies `source` from where it stands to its end.

        Raises EmptyFile for no bytes, FileTooLarge for more than `limit`, StoreFull where space runs out.
        """
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        digest, size = hashlib.sha256(), 0
        with _full_disk_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    while chunk := source.read(CHUNK):
                        size += len(chunk)
                        if limit is not None and size > limit:
                            raise FileTooLarge(f"The file has more than {limit} bytes.")
                        digest.update(chunk)
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                if size == 0:
                    raise EmptyFile("The file is empty.")
                os.replace(temporary, path)
                _sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        return Stored(key, size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """The object for reading, seekable; the caller closes it. Raises ObjectMissing."""
        with _missing_named(key):
            return self._path(key).open("rb")

    def fetch(self, key: str, path: Path) -> None:
        """Brings the object to the local `path`, which must only be read. Raises ObjectMissing, StoreFull."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with _missing_named(key), _full_disk_named():
            try:
                os.link(self._path(key), path)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                shutil.copyfile(self._path(key), path)  # no hard links here

    def size(self, key: str) -> int:
        """The object's bytes. Raises ObjectMissing."""
        with _missing_named(key):
            return self._path(key).stat().st_size

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """Removes one object; nothing happens where there is none."""
        self._path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        """Removes every object whose key begins with `prefix`, which must end in a slash."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} must end in a slash")
        shutil.rmtree(self._path(prefix.rstrip("/")), ignore_errors=True)

    def keys(self, *, older_than_s: float) -> Iterator[str]:
        """The keys of all objects, and of what a killed `put` left, that were written so many seconds ago or earlier."""
        latest = time.time() - older_than_s
        for path in self.root.rglob("*"):
            with suppress(FileNotFoundError):  # it may go while we look
                if path.is_file() and path.stat().st_mtime <= latest:
                    yield path.relative_to(self.root).as_posix()

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"{key!r} is not a key")
        return self.root.joinpath(*parts)


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull("No space left in the object store.") from error
        raise


@contextmanager
def _missing_named(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(f"There is no object {key}.") from error


def _sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
