"""The object store: files by key, in a folder (storage/objects/local.py) or in a bucket (storage/objects/s3.py).

A key is a relative path such as `subjects/sub_1/source`. An object never changes once it is there: new content gets a
new key, and the row that names the key is what makes it visible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

CHUNK = 1 << 20


@dataclass(frozen=True)
class Stored:
    """What `put` wrote: key, size in bytes, and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


class ObjectStore(Protocol):
    """What every store can do. Every object is there whole or not at all. Raises StoreAway where it does not answer."""

    def put(self, key: str, source: BinaryIO, *, limit: int | None = None) -> Stored:
        """Copies `source`, a seekable file, from where it stands to its end.

        Raises EmptyFile for no bytes, FileTooLarge for more than `limit`, StoreFull where space runs out.
        """

    def open(self, key: str) -> BinaryIO:
        """The object for reading, seekable; the caller closes it. Raises ObjectMissing; reading: ObjectDamaged."""

    def fetch(self, key: str, path: Path) -> None:
        """Brings the object to the local `path`, which must only be read. Raises ObjectMissing, ObjectDamaged, StoreFull."""

    def size(self, key: str) -> int:
        """The object's bytes. Raises ObjectMissing."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""

    def delete(self, *keys: str) -> None:
        """Removes objects; nothing happens where there is none."""

    def delete_prefix(self, prefix: str) -> None:
        """Removes every object whose key begins with `prefix`, which must end in a slash, and what was half written."""

    def keys(self, *, older_than_s: float, after: str = "") -> Iterator[str]:
        """The keys of objects written so many seconds ago or earlier, in a fixed order, from behind the key `after` on."""

    def drop_unfinished(self, *, older_than_s: float) -> int:
        """Removes what a `put` that began so many seconds ago left unfinished; returns how much of it there was."""

    def link(self, key: str, *, name: str, media_type: str) -> str | None:
        """A URL by which whoever has it can download the object for a while, as a file `name`; None where there is none."""

    def ping(self) -> None:
        """Raises StoreAway where the store does not answer."""


def check_key(key: str) -> str:
    """The key itself. Raises ValueError where it could lead elsewhere, or is a name that stores use for themselves."""
    if not key or any(part == "" or part.startswith(".") for part in key.split("/")):
        raise ValueError(f"{key!r} is not a key")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix without its slash. Raises ValueError where it has none."""
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} must end in a slash")
    return check_key(prefix.rstrip("/"))
