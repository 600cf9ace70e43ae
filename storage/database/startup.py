"""Checks at the start of a process: what cannot work is said at once, in a sentence with its remedy."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import OperationalError

from storage.database import revisions
from storage.database.engine import Database, parse_url, require_database
from storage.errors import BadSetting, DatabaseNotReady
from storage.private_files import make_data_dir
from storage.settings import Settings, variable_name

log = logging.getLogger(__name__)


def require_data_dir(settings: Settings) -> None:
    """Creates the data folder, private to its user, and those of objects and scratch files in it, if they are missing.

    Raises BadSetting if no file can be created in one of them, such as a disk of its own.
    """
    inner = [settings.work] if settings.store_url else [settings.objects, settings.work]
    for folder in (settings.data_dir, *inner):
        try:
            make_data_dir(folder)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BadSetting(
                f"The data folder {folder} cannot be used: {error.strerror}.",
                "Choose another one with --data-dir or ADNERF_DATA_DIR, or correct its permissions.",
            ) from error


def require_local_files(settings: Settings, *, renders: bool) -> None:
    """Checks that the program that the settings name is on this machine, and the folders if the worker renders. Raises BadSetting."""
    needed: dict[str, Callable[[str], object]] = {"ffmpeg": shutil.which}
    if renders:
        needed |= {"fonts_dir": os.path.isdir, "voices_dir": os.path.isdir}
    for field, is_there in needed.items():
        value = getattr(settings, field)
        if value and not is_there(value):
            raise BadSetting(f"{variable_name(field)}={value!r} is not on this machine.")


def require_tables(url: str) -> None:
    """Checks that the database at `url` has tables that are not older than this program. Creates nothing.

    Tables of a newer version pass: migrations only add what the version before tolerates.

    Raises:
        DatabaseNotReady: It has none, or older ones, or the database is damaged or cannot be reached.
        BadSetting: `url` is no URL of a database.
    """
    address = parse_url(url)
    sqlite = address.get_backend_name() == "sqlite"
    if sqlite and not Path(address.database or "").is_file():
        raise DatabaseNotReady(
            f"There is no database at {address.database or url}.",
            "Check --data-dir, ADNERF_DATA_DIR and ADNERF_DATABASE_URL; `adnerf serve` creates the database of a new data folder.",
        )
    with closing(Database(url)) as database, require_database():
        revision = _revision(database)
    if revision is None or revision in revisions.known()[:-1]:
        state = "has no tables yet" if revision is None else f"is of an older version ({revision})"
        remedy = "Start `adnerf serve` on it once." if sqlite else "Create or update its tables: adnerf migrate."
        raise DatabaseNotReady(f"The database {state}.", remedy)


def require_usable_or_away(url: str) -> None:
    """Does as `require_tables`, but lets a database server that does not answer pass: it will be back, and jobs wait until then."""
    try:
        require_tables(url)
    except DatabaseNotReady as error:
        is_server = parse_url(url).get_backend_name() != "sqlite"
        if not (is_server and isinstance(error.__cause__, OperationalError)):
            raise
        log.warning("the database does not answer; jobs wait until it does")


def require_upgradable(database: Database) -> None:
    """Raises DatabaseNotReady if the database is damaged, cannot be reached, or was migrated by a newer version."""
    with require_database():
        revision = _revision(database)
    if revision is not None and revision not in revisions.known():
        raise DatabaseNotReady(
            f"The database was made by a newer version of adnerf (its tables have the revision {revision}).",
            "Install that version or a newer one, or choose another --data-dir.",
        )


def _revision(database: Database) -> str | None:
    with database.engine.connect() as connection:
        return revisions.current(connection)
