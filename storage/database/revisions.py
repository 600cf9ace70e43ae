"""Which version the tables of a database have, told without Alembic: every process asks at its start, and Alembic loads for .2 s.

The name of a migration's file begins with its revision, four digits that grow: 0001_tables.py.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

PACKED = Path(__file__).resolve().parent / "scripts"
SCRIPTS = PACKED if PACKED.is_dir() else Path(__file__).resolve().parents[2] / "alembic"
"""The migrations: a wheel has them inside (setup.py), a checkout at its top."""
TABLE = "alembic_version"
"""The table in which Alembic notes the revision."""


def current(connection: Connection) -> str | None:
    """Returns the revision of the tables; None if there are none. Reads the schema, which a damaged file does not have."""
    if TABLE not in inspect(connection).get_table_names():
        return None
    return connection.scalar(text(f"SELECT version_num FROM {TABLE}"))


@cache
def known() -> list[str]:
    """Returns the revisions that this version of the program knows, oldest first."""
    return sorted(path.name.partition("_")[0] for path in (SCRIPTS / "versions").glob("[0-9]*_*.py"))
