"""Database: the engine, and the only commit.

On SQLite: write-ahead logging, foreign keys, and BEGIN IMMEDIATE, so that a transaction that will write waits for its
turn at the start instead of failing in the middle. On PostgreSQL (by psycopg): READ COMMITTED for writers, whose every move
is one compare-and-set UPDATE, and a snapshot for readers; a connection that the network or the server has dropped is
noticed within seconds, on both of its ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from storage.errors import DatabaseNotReady, StoreFull

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another."""
POSTGRESQL = {
    "connect_timeout": 10,  # s
    # A peer that vanished without a word: no answer to what was sent for 20 s, or to three probes after silence.
    "tcp_user_timeout": 20_000,  # ms
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # The server, too, lets go of the rows that such a peer has locked.
    "options": f"-c lock_timeout={BUSY_TIMEOUT_MS} -c idle_in_transaction_session_timeout=60000"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
"""How to connect: parameters of libpq, see PostgreSQL's manual, "Parameter Key Words"."""


class Database:
    """One process's connection to the database at `url`. Threads may share it; a fork may not.

    `on_queued`, where it is set, is called with the WakeUp (storage/tables/jobs.py) of each job that was queued, once that is
    durable.
    """

    def __init__(self, url: str, on_queued: Callable[[Any], object] | None = None):
        self.on_queued = on_queued
        self.url = make_url(url)
        if self.sqlite and self.url.database:
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        if self.sqlite:  # hidden: names and texts of consent shall not reach the log by way of an error
            self.engine = create_engine(self.url, hide_parameters=True)
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            self._reader = self.engine.execution_options(read_only=True)
        else:
            # A server may have been started anew since a connection was last used; asking first costs a round trip.
            self.engine = create_engine(self.url, hide_parameters=True, pool_pre_ping=True, connect_args=POSTGRESQL)
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @property
    def sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def session(self, *, write: bool = True) -> Iterator[Session]:
        """One transaction: committed when the block ends well, rolled back when it raises.

        Nothing is locked before the first statement; so do slow things (taking in a file) before it. With `write` False
        the transaction does not wait for writers, sees one state of things throughout, and must not write. Rows stay
        readable after the block. Raises StoreFull where the disk has no space left.
        """
        session = Session(self.engine if write else self._reader, expire_on_commit=False)
        session.info["on_queued"] = self.on_queued
        outcome = "rolled back"
        try:
            with session:
                yield session
                for action in session.info.get("closing", []):
                    action()
                if not self.sqlite:
                    outcome = "in doubt"  # a server that is lost during the commit may have made it: nothing follows
                session.commit()
                outcome = "committed"
        except OperationalError as error:
            if "disk is full" in str(error) or "No space left" in str(error):
                raise StoreFull("No space left to write the database.") from error
            raise
        finally:
            for action in session.info.get(outcome, []):
                try:
                    action()
                except Exception:  # what is done is done, whatever comes of its consequences
                    log.exception("after the transaction was %s", outcome)

    def ping(self) -> None:
        """Raises SQLAlchemy's OperationalError where the database does not answer."""
        with self._reader.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes all connections; those in use when they are given back, which the pool would keep for nobody."""
        event.listen(self.engine, "checkin", lambda _connection, entry: entry.close())
        self.engine.dispose()


@contextmanager
def require_database() -> Iterator[None]:
    """Raises DatabaseNotReady where the block finds the database away, or without a table."""
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        raise DatabaseNotReady(f"The database cannot be used: {str(error.orig).strip()}.") from error


def before_commit(session: Session, action: Callable[[], object]) -> None:
    """Runs `action` as the last thing in the transaction of `session`; not where that came to nothing before."""
    session.info.setdefault("closing", []).append(action)


def after_commit(session: Session, action: Callable[[], object]) -> None:
    """Runs `action` once the transaction of `session` is durable, and never if it is not. Its errors go to the log."""
    session.info.setdefault("committed", []).append(action)


def after_rollback(session: Session, action: Callable[[], object]) -> None:
    """Runs `action` if the transaction of `session` comes to nothing. Its errors go to the log."""
    session.info.setdefault("rolled back", []).append(action)


def _prepare_sqlite(connection, _record) -> None:
    connection.isolation_level = None  # the driver must not begin transactions on its own: _begin_sqlite does
    for pragma in ("journal_mode=WAL", f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
