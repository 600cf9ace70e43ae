"""The object store's interface: files by key, kept in a folder (storage/objects/local.py) or a bucket (storage/objects/s3.py).

A key is a relative path such as `subjects/sub_1/source`. An object never changes once it exists: new content gets a new
key, and the database row that names the key makes it visible.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from storage.errors import StoreFull

CHUNK_BYTES = 1 << 20
"""Bytes that are read or copied at a time: large enough that the system calls cost little, and small in memory."""

RESERVE_BYTES, RESERVE_SHARE = 64 << 20, 0.02
"""Space of a disk that files do not fill, or this share of a small one: the database, which may be on it, can go on recording, and deleting."""

ANY_AGE_S = -math.inf
"""As an age in `ObjectStore.keys`: all objects, also those that were stored while the clock was years ahead."""


@dataclass(frozen=True)
class Stored:
    """A stored object: its key, its size in bytes, and its SHA-256 in hex ("" if it was not computed)."""

    key: str
    size: int
    sha256: str


class IncomingFile:
    """A file that is being received. It is written once, from start to end, and then handed to a store's `put_incoming`.

    Only ObjectStore.create_incoming makes one, so it lies where that store can take it over without copying it. The
    digest is computed while the bytes arrive. Closing the file before it is handed over deletes it.

    Args:
        file: An empty, unbuffered file, open for writing.
        path: The file's path; None if it has no name.
        hashed: Whether to compute the SHA-256.
    """

    def __init__(self, file: BinaryIO, path: Path | None = None, *, hashed: bool = True):
        self.file, self.path = file, path
        self.size = 0
        self._digest = hashlib.sha256() if hashed else None

    @property
    def sha256(self) -> str:
        """The SHA-256 of what has been written, in hex; "" if it is not computed."""
        return self._digest.hexdigest() if self._digest is not None else ""

    def write(self, data: bytes | memoryview) -> None:
        """Appends all of `data`. Raises StoreFull."""
        rest = memoryview(data)
        disk = os.fstatvfs(self.file.fileno())
        size, free = disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
        if size and free < len(data) + min(RESERVE_BYTES, RESERVE_SHARE * size):  # 0: the file system tells no size
            raise StoreFull("No space left in the object store.")
        with disk_full_is_store_full():
            while rest:  # an unbuffered write may take only a part
                rest = rest[self.file.write(rest) :]
        self.size += len(data)
        if self._digest is not None:
            self._digest.update(data)

    def copy_from(self, source: BinaryIO) -> None:
        """Appends the rest of `source`. Raises StoreFull."""
        while chunk := source.read(CHUNK_BYTES):
            self.write(chunk)

    def close(self) -> None:
        """Closes the file and deletes it, unless a store has taken it over."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.file.close()

    def __enter__(self) -> IncomingFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ObjectStore(Protocol):
    """The operations of every store. An object is either there completely or not at all.

    All methods raise StoreAway if the store does not answer.
    """

    def put(self, key: str, source: BinaryIO) -> Stored:
        """Stores the rest of `source`, a seekable file, by copying it. Raises EmptyFile, StoreFull."""

    def create_incoming(self, *, hashed: bool = True) -> IncomingFile:
        """Returns a new file in which to receive an object.

        A caller that does not need the SHA-256 passes `hashed` False; a store that needs it computes it all the same.
        """

    def put_incoming(self, key: str, incoming: IncomingFile) -> Stored:
        """Takes over a file of `create_incoming` as the object `key`, without computing its digest again, and closes it.

        Raises EmptyFile, StoreFull.
        """

    def put_joined(self, key: str, part_keys: Sequence[str]) -> Stored:
        """Stores the content of other objects, one after the other, as the object `key`; the other objects stay.

        Raises EmptyFile, ObjectMissing, ObjectDamaged, StoreFull.
        """

    def open(self, key: str) -> BinaryIO:
        """Opens the object for reading, seekable; the caller closes it. Raises ObjectMissing; reading: ObjectDamaged."""

    def fetch(self, key: str, path: Path) -> None:
        """Brings the object to the local `path`, which may only be read. Raises ObjectMissing, ObjectDamaged, StoreFull."""

    def size(self, key: str) -> int:
        """Returns the object's size in bytes. Raises ObjectMissing."""

    def exists(self, key: str) -> bool:
        """Returns whether the object exists."""

    def delete(self, *keys: str) -> None:
        """Deletes objects; a key without an object is ignored. Raises NotDeleted if some stay; all are tried."""

    def delete_prefix(self, prefix: str) -> None:
        """Deletes every object, finished or not, whose key begins with `prefix`, which must end in a slash. Raises NotDeleted, likewise."""

    def move(self, key: str, new_key: str) -> None:
        """Gives the object another key, replacing an object of that key; its age begins anew. Raises ObjectMissing."""

    def keys(self, *, older_than_s: float, after: str = "", prefix: str = "") -> Iterator[str]:
        """Yields the keys of objects that are at least `older_than_s` seconds old, in a fixed order, those after `after`.

        With `prefix`, which must end in a slash, only keys that begin with it.
        """

    def delete_unfinished(self, *, older_than_s: float) -> int:
        """Deletes unfinished objects of which nothing has arrived for `older_than_s` seconds; returns their number."""

    def link(self, key: str, *, name: str, media_type: str) -> str | None:
        """Returns a URL that downloads the object as a file `name` for a limited time; None if the store has no such URLs."""

    def ping(self) -> None:
        """Raises StoreAway if the store does not answer."""


def check_key(key: str) -> str:
    """Returns `key`. Raises ValueError if it could lead out of the store, or has a name that stores use themselves."""
    if not is_key(key):
        raise ValueError(f"{key!r} is not a key")
    return key


def is_key(key: str) -> bool:
    """Returns whether an object can have this key. A store may hold others, such as the folders that consoles of buckets make."""
    return all(part and not part.startswith(".") for part in key.split("/"))


def check_prefix(prefix: str) -> str:
    """Returns `prefix` without its slash. Raises ValueError if it has none."""
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} must end in a slash")
    return check_key(prefix.rstrip("/"))


@contextmanager
def disk_full_is_store_full() -> Iterator[None]:
    """Raises StoreFull in place of the operating system's error for a full disk or an exhausted disk quota."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull("No space left in the object store.") from error
        raise
