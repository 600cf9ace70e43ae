"""Runs migrations: on the connection that storage/database/migrations.py passes, or on the database of the settings."""

from sqlalchemy import text

from alembic import context
from storage.database.base import UtcTime
from storage.database.engine import Database
from storage.database.models import Base
from storage.settings import load

LOCK = 0x61646E657266
"""Key of the advisory lock: an arbitrary number (`adnerf` in ASCII) that no other program is likely to use."""


def render_type(kind, value, _context):
    """Renders UtcTime in a new migration as the plain column type that it has in the database."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(value, UtcTime) else False


def migrate(connection) -> None:
    """Runs the requested migrations in one transaction. Batch mode is needed because SQLite alters a table by copying it."""
    if connection.dialect.name == "postgresql":  # A second migration waits for this one; SQLite locks anyway.
        connection.execute(text("SET LOCAL lock_timeout = 0"))  # the other one may take minutes
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        connection.execute(text("SET LOCAL lock_timeout TO DEFAULT"))
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render_type,
        transactional_ddl=True,  # SQLite can do this too: storage/database/engine.py begins its transactions.
    )
    with context.begin_transaction():
        context.run_migrations()


passed_connection = context.config.attributes.get("connection")
if passed_connection is not None:
    migrate(passed_connection)
else:
    database = Database(load().database)
    with database.engine.begin() as connection:
        migrate(connection)
    database.close()
