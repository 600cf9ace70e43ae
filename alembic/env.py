"""Migrates the database of storage/settings.py, or the connection that storage/database/migrations.py hands over."""

from sqlalchemy import text

from alembic import context
from storage.database.engine import Database
from storage.database.models import Base, UtcTime
from storage.settings import load

LOCK = 0x61646E657266
"""Any number that nobody else takes for a lock of this database."""


def render_type(kind, value, _context):
    """How a new migration writes our own type: as the plain one that it is in the database."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(value, UtcTime) else False


def migrate(connection) -> None:
    """Runs what was asked for in one transaction; `batch`, because SQLite alters a table by copying it."""
    if connection.dialect.name == "postgresql":  # of two that are started at once, one waits; SQLite locks anyway
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        render_item=render_type,
        transactional_ddl=True,  # SQLite can, with the transactions of storage/database/engine.py
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    database = Database(load().database)
    with database.engine.begin() as own:
        migrate(own)
    database.close()
