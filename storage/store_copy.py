"""Copies of all objects of a store in a folder, with their digests, and back: the backup of a bucket.

Tools that copy a bucket to a disk lose the metadata, and with them the digests by which a reader notices damage. Here they are
in the file SUMS, in the form that `sha256sum --check` reads. Objects never change, so a copy is completed, not repeated. What is
in the trash, and the marker of the database (storage/store_identity.py), are not copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from storage import store_identity, trash
from storage.errors import BackupRefused, ObjectDamaged, ObjectMissing
from storage.objects.base import ANY_AGE_S, ObjectStore
from storage.objects.local import LocalStore
from storage.private_files import make_data_dir

SUMS = "SHA256SUMS"
OBJECTS = "objects"


class Copied(NamedTuple):
    """How many objects were copied now, and the keys of those that are damaged or missing."""

    number: int
    damaged: list[str]


def export_objects(store: ObjectStore, folder: Path) -> Copied:
    """Copies the objects that `folder` lacks. Raises StoreAway, StoreFull."""
    make_data_dir(folder)
    target, known = LocalStore(folder / OBJECTS), dict(_sums(folder))
    number, damaged = 0, []
    with (folder / SUMS).open("a") as sums:
        for key in store.keys(older_than_s=ANY_AGE_S):
            if key.startswith(trash.PREFIX) or key == store_identity.KEY or key in known:
                continue
            try:
                with store.open(key) as source:
                    stored = target.put(key, source)
            except ObjectMissing:  # it was deleted meanwhile
                continue
            except ObjectDamaged:
                damaged.append(key)
                continue
            sums.write(f"{stored.sha256}  {OBJECTS}/{key}\n")
            sums.flush()
            number += 1
    return Copied(number, damaged)


def import_objects(store: ObjectStore, folder: Path) -> Copied:
    """Copies the objects that `store` lacks back from `folder`. Raises BackupRefused, StoreAway, StoreFull."""
    if not (folder / SUMS).is_file():
        raise BackupRefused(
            f"{folder} holds no copy of a store.", "Name a folder that `adnerf store export` has written."
        )
    source, number, damaged = LocalStore(folder / OBJECTS), 0, []
    for key, sha256 in _sums(folder):
        if store.exists(key):
            continue
        try:
            with source.open(key) as file:
                stored = store.put(key, file)
        except ObjectMissing:
            damaged.append(key)
            continue
        if stored.sha256 != sha256:
            store.delete(key)
            damaged.append(key)
            continue
        number += 1
    return Copied(number, damaged)


def _sums(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields key and digest of every object in the copy; a last line that a full disk has cut short is none."""
    if (folder / SUMS).is_file():
        for line in (folder / SUMS).read_text().splitlines(keepends=True):
            sha256, _, place = line.partition(f"  {OBJECTS}/")
            if line.endswith("\n") and place:
                yield place.rstrip("\n"), sha256
