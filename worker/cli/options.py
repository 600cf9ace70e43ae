"""What the operator's commands share: the option --data-dir, the settings, and the database."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from typer import BadParameter, Option

from adnerf_core import threads
from storage.database import migrations
from storage.database.engine import Database, require_database
from storage.database.startup import require_upgradable
from storage.errors import StorageError
from storage.private_files import restrict_umask
from storage.settings import Settings, load
from storage.tables import api_keys
from worker import logs

DataDir = Annotated[
    Path | None, Option(help="Folder for all data of the service. [default: ADNERF_DATA_DIR, else ./data]")
]


@contextmanager
def operator_settings(data_dir: Path | None) -> Iterator[Settings]:
    """Loads the settings for one command. What the block cannot use (see `_explain`) is printed and ends it with status 1."""
    threads.sleep_while_waiting()
    restrict_umask()
    try:
        settings = load()
        logs.configure(settings.log)
        with require_database():
            yield settings if data_dir is None else settings.replace(data_dir=data_dir)
    except BrokenPipeError:  # the reader of the output has seen enough
        raise
    except (StorageError, OSError, sqlite3.Error) as error:
        print(f"adnerf: {_explain(error)}", file=sys.stderr)
        raise typer.Exit(1) from error


def _explain(error: StorageError | OSError | sqlite3.Error) -> str:
    """What is wrong, and the remedy: of the settings and the data, of files and folders, and of a copied SQLite file."""
    if isinstance(error, OSError):
        return f"{error.filename or 'A file'} cannot be used: {error.strerror or error}. Check the path and its permissions."
    if isinstance(error, sqlite3.Error):
        return f"The database is damaged: {error}. Restore adnerf.db from a backup (docs/operations.md)."
    return str(error)


@contextmanager
def operator_database(data_dir: Path | None) -> Iterator[tuple[Database, Settings]]:
    """Opens the service's database for one command; errors are handled as in `operator_settings`."""
    with operator_settings(data_dir) as settings, closing(Database(settings.database)) as database:
        if database.sqlite:
            require_upgradable(database)
            migrations.upgrade(database)  # as `adnerf serve` does: this command may run before the first start
        yield database, settings


def key_name(text: str) -> str:
    """Checks the name of a key that was given on the command line."""
    if not (text.strip() and text.isprintable() and len(text) <= 200):
        raise BadParameter("a name has up to 200 characters that can be printed")
    return text


def owner_name(text: str) -> str:
    """Checks the name of an owner that was given on the command line."""
    if not re.fullmatch(api_keys.OWNER, text):
        raise BadParameter(
            "an owner is up to 64 letters, digits, dots, dashes, underscores and @, a letter or digit first"
        )
    return text
