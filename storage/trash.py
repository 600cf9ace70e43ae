"""The trash: objects that no row names are moved to `trash/<date>/<key>` and deleted some days later.

A mistake in the rows, such as a database that was restored from an old backup, can so be undone: `adnerf store trash restore`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from storage.database.models import now
from storage.errors import ObjectMissing
from storage.objects.base import ANY_AGE_S, ObjectStore

PREFIX = "trash/"
"""The beginning of the keys of objects in the trash."""


class TrashedObject(NamedTuple):
    """An object in the trash: its key there, the day on which it was moved (UTC, ISO 8601), and the key that it had."""

    trash_key: str
    date: str
    key: str


def move(store: ObjectStore, keys: Iterable[str]) -> None:
    """Moves objects to the trash; a key without an object is ignored. Raises StoreAway, StoreFull."""
    date = now().date().isoformat()
    for key in keys:
        with suppress(ObjectMissing):  # another worker moves it at the same time
            store.move(key, f"{PREFIX}{date}/{key}")


def entries(store: ObjectStore, *, older_than_s: float = ANY_AGE_S) -> Iterator[TrashedObject]:
    """Yields the objects that have been in the trash for at least `older_than_s` seconds, the oldest day first."""
    for trash_key in store.keys(older_than_s=older_than_s, prefix=PREFIX):
        _, date, *key = trash_key.split("/", 2)
        if key:  # otherwise a file that somebody has put there
            yield TrashedObject(trash_key, date, *key)


def restore(store: ObjectStore, prefix: str = "") -> list[str]:
    """Moves the objects whose key began with `prefix` back, unless there is an object of that key again.

    Returns:
        Their keys.
    """
    restored = []
    for entry in list(entries(store)):
        if entry.key.startswith(prefix) and not store.exists(entry.key):
            store.move(entry.trash_key, entry.key)
            restored.append(entry.key)
    return restored


def delete_expired(store: ObjectStore, *, older_than_s: float) -> int:
    """Deletes the objects that have been in the trash for `older_than_s` seconds; returns their number."""
    expired = [entry.trash_key for entry in entries(store, older_than_s=older_than_s)]
    store.delete(*expired)
    return len(expired)


def delete_prefixes(store: ObjectStore, prefixes: Sequence[str]) -> None:
    """Deletes the objects in the trash whose key began with one of the prefixes."""
    store.delete(*[entry.trash_key for entry in entries(store) if entry.key.startswith(tuple(prefixes))])
