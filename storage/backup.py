"""Backups of a service on one machine: SQLite and a local object store, copied while the service runs.

A backup is a folder of the form of a data folder: the database, the objects that its rows name, and the secret keys. The database
is copied first, by SQLite's own method, so it is a state between two transactions. If an object that it names was deleted
meanwhile, the database is copied again, until both agree. `adnerf.db` gets its name last: a folder with it is complete.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from storage import object_places, store_identity
from storage.database import migrations
from storage.database.engine import Database
from storage.database.startup import require_upgradable
from storage.durable_files import publish, publish_once, sync_all
from storage.errors import BackupRefused, DatabaseNotReady, ObjectMissing, StoreFull
from storage.objects.base import ANY_AGE_S
from storage.objects.local import LocalStore
from storage.private_files import make_data_dir
from storage.settings import Settings
from storage.tables import jobs, removals, uploads, verifications

DATABASE = "adnerf.db"
"""Name of the database in a backup."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a full disk, an exhausted quota of the disk, and a file that is larger than the process may write."""
FULL_TEXTS = ("database or disk is full", "disk I/O error", *(os.strerror(each) for each in FULL))
"""The same as SQLite and shutil say them; SQLite tells of every failed write but ENOSPC as `disk I/O error`."""


class Backup(NamedTuple):
    """The keys of the objects in a backup, and of those that rows name and the store has not."""

    keys: list[str]
    missing: list[str]


@contextmanager
def _full_disk_is_store_full(folder: Path) -> Iterator[None]:
    """Raises StoreFull in place of the errors of the operating system, of SQLite and of SQLAlchemy for a full disk.

    It may be the cause of DatabaseNotReady: a copy for whose log no space is left cannot be read.
    """
    try:
        yield
    except (OSError, shutil.Error, sqlite3.OperationalError, OperationalError, DatabaseNotReady) as error:
        cause = error.__cause__ if isinstance(error, DatabaseNotReady) else error
        system_full = isinstance(cause, OSError) and cause.errno in FULL
        if not system_full and not any(text in str(cause) for text in FULL_TEXTS):
            raise
        remedy = (
            "Free disk space or choose another disk, and remove the folder before you try again: it is not complete."
        )
        raise StoreFull(f"No space left for {folder}.", remedy) from error


def back_up(settings: Settings, folder: Path) -> Backup:
    """Copies the service's data to `folder`, which must be empty or absent; objects are hard-linked if it is on the same disk.

    Raises:
        BackupRefused: the data are on servers, there are none, or the folder is not empty.
        DatabaseNotReady: the database is damaged, or of a newer version.
        StoreFull: no space is left in `folder`.
    """
    with _full_disk_is_store_full(folder):
        return _back_up(settings, folder)


def _back_up(settings: Settings, folder: Path) -> Backup:
    source = _database_file(settings)
    if not source.exists():
        raise BackupRefused(f"There is no database {source}.", "Check ADNERF_DATA_DIR or --data-dir.")
    _make_empty(folder)
    store, copied = LocalStore(settings.objects), LocalStore(folder / "objects")
    partial = folder / f".{DATABASE}"
    missing: set[str] = set()
    while True:
        keys = _copy_database(source, partial, copied)
        before = missing
        missing = {key for key in keys if not copied.exists(key) and not _fetch(store, key, copied.root / key)}
        if missing <= before:  # rows go before their objects: what a later copy still names was not deleted meanwhile
            break
    keys -= missing
    _delete_others(copied, {*keys, store_identity.KEY})
    for key_file, name in _secrets(settings).items():
        _copy_secret(key_file, folder / name)
    sync_all(folder)
    publish(partial, folder / DATABASE)
    return Backup(sorted(keys), sorted(missing))


def restore(settings: Settings, folder: Path) -> list[str]:
    """Copies a backup to the data folder, which must be empty or absent; the backup stays as it is.

    Returns:
        The keys of objects that rows name and the backup lacks.

    Raises:
        BackupRefused: there are data already, the settings name servers, or `folder` is not a complete backup.
        DatabaseNotReady: the backup is damaged, or of a newer version.
        StoreFull: no space is left in the data folder.
    """
    with _full_disk_is_store_full(settings.data_dir):
        return _restore(settings, folder)


def _restore(settings: Settings, folder: Path) -> list[str]:
    target = _database_file(settings)
    if not (folder / DATABASE).is_file():
        raise BackupRefused(f"{folder} is not a complete backup.", "Name the folder that `adnerf backup` has written.")
    if target.exists():
        raise BackupRefused(f"There is a database {target} already.", "Check ADNERF_DATABASE_URL.")
    _make_empty(settings.data_dir)
    source, store = LocalStore(folder / "objects"), LocalStore(settings.objects)
    for key in source.keys(older_than_s=ANY_AGE_S):
        with source.open(key) as file:
            store.put(key, file)
    for key_file, name in _secrets(settings).items():
        if not key_file.exists():  # ADNERF_SIGNING_DIR may name a folder that was not lost
            _copy_secret(folder / name, key_file)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}")
    shutil.copyfile(folder / DATABASE, partial)
    with closing(Database(f"sqlite:///{partial.absolute()}")) as database:
        require_upgradable(database)
        migrations.upgrade(database)
        with database.session() as session:
            begin_again(session, settings)
        with database.session(write=False) as session:
            missing = sorted(key for key in object_places.named_keys(session) if not store.exists(key))
    _end_write_ahead_log(partial)
    sync_all(settings.data_dir)
    try:
        publish_once(partial, target)
    except FileExistsError:
        remedy = "Stop it, remove the data folder, and restore again."
        raise BackupRefused(
            f"A service was started meanwhile, and has made another database {target}.", remedy
        ) from None
    return missing


def begin_again(session: Session, settings: Settings) -> None:
    """Makes the rows of a backup ones of now: times that ran on meanwhile begin anew, and what ran then waits again, uncounted."""
    removals.keep_longer(session, keep_s=settings.undo_s)
    uploads.keep_longer(session, keep_s=settings.upload_idle_s)
    jobs.release_all(session)
    verifications.release_all(session)


def _database_file(settings: Settings) -> Path:
    """Returns the file of the database. Raises BackupRefused if the database or the store is a server."""
    url = make_url(settings.database)
    if url.get_backend_name() != "sqlite" or not url.database or settings.store_url:
        remedy = "Use the tools of the database server and of the bucket: docs/operations.md, Back up and restore."
        raise BackupRefused("The data of this service are not in a data folder.", remedy)
    return Path(url.database)


def _secrets(settings: Settings) -> dict[Path, str]:
    """The files and folders with secret keys, and their names in a backup."""
    return {settings.signing: "signing", settings.data_dir / "webhook.key": "webhook.key"}


def _make_empty(folder: Path) -> None:
    """Makes `folder`, readable by its user only. Raises BackupRefused if there is something in it."""
    make_data_dir(folder)
    if any(folder.iterdir()):
        raise BackupRefused(f"{folder} is not empty.", "Name a folder that is empty or does not exist.")


def _copy_database(source: Path, target: Path, copied: LocalStore) -> set[str]:
    """Copies the database in its present state, and writes the marker of the store that fits it.

    Returns:
        The keys that its rows name.
    """
    for path in (target, Path(f"{target}-wal"), Path(f"{target}-shm")):
        path.unlink(missing_ok=True)
    with closing(sqlite3.connect(source)) as reading, closing(sqlite3.connect(target)) as writing:
        reading.backup(writing)
    with closing(Database(f"sqlite:///{target.absolute()}")) as database:
        require_upgradable(database)
        migrations.upgrade(database)
        store_identity.mark_copy(database, copied)
        with database.session(write=False) as session:
            keys = object_places.named_keys(session)
    _end_write_ahead_log(target)
    return keys


def _end_write_ahead_log(database: Path) -> None:
    """Makes a database that nobody has open one file."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _fetch(store: LocalStore, key: str, path: Path) -> bool:
    with suppress(ObjectMissing):
        store.fetch(key, path)
        return True
    return False


def _delete_others(store: LocalStore, keys: Iterable[str]) -> None:
    """Deletes what an earlier copy of the database named."""
    wanted = set(keys)
    store.delete(*[key for key in store.keys(older_than_s=ANY_AGE_S) if key not in wanted])


def _copy_secret(source: Path, target: Path) -> None:
    """Copies a file or a folder with its permissions; a source that does not exist is ignored."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
