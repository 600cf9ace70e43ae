"""Databases with empty tables: a copy of a migrated SQLite file is ten times quicker than a migration."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from storage.database import migrations
from storage.database.engine import Database


def create_tables(database: Database) -> None:
    """Makes the empty tables of a database; migrates it if it has tables already, or is on a server."""
    path = database.url.database
    if database.sqlite and path and not Path(path).exists():
        Path(path).write_bytes(_empty_database())
    else:
        migrations.upgrade(database)


@cache
def _empty_database() -> bytes:
    """The content of a migrated SQLite file."""
    with TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/adnerf.db")
        migrations.upgrade(database)
        database.close()  # the last one to go folds the write-ahead log into the file
        return Path(folder, "adnerf.db").read_bytes()
