"""Copies of all objects of a store in a folder, with their digests, and back: the backup of a bucket.

Tools that copy a bucket to a disk lose the metadata, and with them the digests by which a reader notices damage. Here they are
in the file SUMS, in the form that `sha256sum --check` reads. Objects never change, so a copy is completed, not repeated. What is
in the trash, and the marker of the database (storage/store_identity.py), are not copied.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from storage import store_identity, trash
from storage.durable_files import publish, sync
from storage.errors import BackupRefused, ObjectDamaged, ObjectMissing
from storage.objects.base import ANY_AGE_S, ObjectStore
from storage.objects.local import LocalStore
from storage.private_files import make_data_dir

SUMS = "SHA256SUMS"
OBJECTS = "objects"
DIGEST = re.compile(r"[0-9a-f]{64}")


class Copied(NamedTuple):
    """How many objects were copied now, and the keys of those that were not: because they are damaged or missing, or have no digest."""

    number: int
    damaged: list[str]


def export_objects(store: ObjectStore, folder: Path) -> Copied:
    """Copies the objects that `folder` lacks. Raises StoreAway, StoreFull."""
    make_data_dir(folder)
    target, known = LocalStore(folder / OBJECTS), dict(_sums(folder))
    number, damaged = 0, []
    _write_sums(folder, known)  # without a last line that was cut short: the next one would be appended to it
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
    sync(folder / SUMS)
    sync(folder)
    return Copied(number, damaged)


def import_objects(store: ObjectStore, folder: Path) -> Copied:
    """Copies the objects that `store` lacks back from `folder`. Raises BackupRefused, StoreAway, StoreFull."""
    if not (folder / SUMS).is_file():
        raise BackupRefused(
            f"{folder} holds no copy of a store.", "Name a folder that `adnerf store export` has written."
        )
    source, number = LocalStore(folder / OBJECTS), 0
    listed = dict(_sums(folder))
    # Nobody can tell whether these are whole.
    damaged = [key for key in source.keys(older_than_s=ANY_AGE_S) if key not in listed]
    for key, sha256 in listed.items():
        if store.exists(key):
            continue
        try:
            with source.open(key) as file:
                # Compared first: a damaged object must not be in the store for a moment.
                whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
                if whole:
                    file.seek(0)
                    store.put(key, file)
        except ObjectMissing:
            whole = False
        if not whole:
            damaged.append(key)
            continue
        number += 1
    return Copied(number, damaged)


def _write_sums(folder: Path, known: Mapping[str, str]) -> None:
    partial = folder / f".{SUMS}"
    partial.write_text("".join(f"{sha256}  {OBJECTS}/{key}\n" for key, sha256 in known.items()))
    publish(partial, folder / SUMS)


def _sums(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields key and digest of every object in the copy; a last line that a full disk has cut short is none."""
    if (folder / SUMS).is_file():
        for line in (folder / SUMS).read_text().splitlines(keepends=True):
            sha256, _, place = line.partition(f"  {OBJECTS}/")
            if line.endswith("\n") and place and DIGEST.fullmatch(sha256):
                yield place.rstrip("\n"), sha256
