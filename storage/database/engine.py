"""The database: one engine per process, and the only commit.

SQLite runs with a write-ahead log and foreign keys. A writing transaction begins with BEGIN IMMEDIATE, so it waits for other
writers at its start and cannot fail halfway because of one. PostgreSQL (through psycopg) runs writing transactions at READ
COMMITTED, because every state change is a single compare-and-set UPDATE, and reading ones on a snapshot. Both the client and
the server notice within seconds that the network has dropped a connection.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    DisconnectionError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from storage.errors import BadSetting, DatabaseNotReady, ServerFull, StoreFull
from storage.private_files import make_data_dir, require_file

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another. Write transactions are short, so a longer wait means that the other one hangs."""
MAX_LOG_BYTES = 64 << 20
"""Longest write-ahead log that is left to SQLite, which keeps it at 4 MB as long as there are moments without readers."""
READ_ONLY, IDLE_TOO_LONG = "25006", "25P03"
"""Errors of PostgreSQL (appendix A of its manual): the database is read-only, such as after a failover; the session was idle in a transaction
for too long, such as during a pause of this process."""
LEAST_BYTES = 128 << 10
"""Free space below which SQLite's `disk I/O error` means a full disk: its shared file begins with 32 KiB, and its log grows by pages."""
LOG_WAIT_MS = 1000
"""How long the emptying of the log waits for readers: lists take milliseconds, a search in all videos some tenths of a second."""
DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
"""The drivers that work here: those for asyncio do not, and psycopg2 is not installed."""
POSTGRESQL = {
    "connect_timeout": 10,  # s
    # The client gives up on a dead server: sent data unacknowledged for 20 s, or three unanswered probes, 5 s apart.
    "tcp_user_timeout": 20_000,  # ms
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,
    "keepalives_count": 3,
    # The server gives up on a dead client by the same rules, which releases the rows that the client has locked.
    "options": f"-c lock_timeout={BUSY_TIMEOUT_MS} -c idle_in_transaction_session_timeout=60000"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}
"""Connection parameters of libpq (PostgreSQL manual, "Parameter Key Words").

Each timeout is shorter than the default lease of a job (75 s, storage/settings.py), so that a worker has time to reconnect.
"""

Action = Callable[[], object]


@dataclass
class TransactionHooks:
    """What happens around the end of one transaction, besides the commit. `Database.session` makes and carries it out.

    `pending_counts` holds the increments of storage/tables/counters.py until the commit: lists of seconds by name, kind, label.
    """

    on_queued: Callable[[Any], object] | None = None
    remote: Executor | None = None
    before_commit: list[Action] = field(default_factory=list)
    after_commit: list[Action] = field(default_factory=list)
    after_rollback: list[Action] = field(default_factory=list)
    pending_counts: dict[tuple[str, str, str], list[float]] = field(default_factory=dict)


KEPT_CONNECTIONS = 5
"""Connections that a process keeps open."""
CONNECTIONS = 32
"""Most connections of a process: more than the turns of readers and writers of the API together (api/deps.py)."""
POOL = {"pool_size": KEPT_CONNECTIONS, "max_overflow": CONNECTIONS - KEPT_CONNECTIONS}


class Database:
    """The connections of one process to the database at `url`. Threads may share it; a forked process must make its own.

    Raises BadSetting if `url` is none, DatabaseNotReady if a file of SQLite cannot be one.

    If `on_queued` is set, it is called with the WakeUp (storage/tables/jobs.py) of each queued job, after the commit. If `remote` is
    set, it carries out what calls another server after a transaction, so that nobody waits for that server.
    """

    def __init__(self, url: str, on_queued: Callable[[Any], object] | None = None):
        self.on_queued = on_queued
        self.remote: Executor | None = None
        self.url = parse_url(url)
        if self.sqlite and self.url.database:
            make_data_dir(Path(self.url.database).parent)
            _require_files(self.url.database)
        if self.sqlite:  # Parameters are hidden: an error must not write names or consent texts to the log.
            self.engine = create_engine(self.url, hide_parameters=True, **(POOL if self.url.database else {}))
            if self.url.database:
                _follow_file(self.engine, Path(self.url.database))
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
            self._reader = self.engine.execution_options(read_only=True)
        else:
            # The server may have restarted since a pooled connection was last used. The ping costs one round trip.
            more = {"pool_pre_ping": True, "connect_args": POSTGRESQL}
            self.engine = create_engine(self.url, hide_parameters=True, **POOL, **more)
            # Before SQLAlchemy asks the new connection what the server is, which fails with SQL_ASCII.
            event.listen(self.engine, "connect", _require_utf8, insert=True)
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @property
    def sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def session(self, *, write: bool = True) -> Iterator[Session]:
        """Opens one transaction: it commits when the block ends, and rolls back when the block raises.

        Nothing is locked before the first statement, so slow work (such as receiving a file) belongs before it. Rows stay
        readable after the block.

        Args:
            write: False opens a transaction that sees a single snapshot, does not wait for writers and must not write.

        Raises:
            StoreFull: the database's disk has no space left; ServerFull, if it is a server.
        """
        session = Session(self.engine if write else self._reader, expire_on_commit=False)
        hooks = session.info[_HOOKS] = TransactionHooks(self.on_queued, self.remote)
        consequences = hooks.after_rollback
        try:
            with session:
                yield session
                for action in hooks.before_commit:
                    action()
                if not self.sqlite:
                    consequences = []  # A server that is lost during the commit may have committed or not.
                session.commit()
                consequences = hooks.after_commit
        except (InternalError, NotSupportedError) as error:
            if not _is_away(error, write=write):
                raise
            away = OperationalError(error.statement, error.params, error.orig, hide_parameters=True)
            raise away from error
        except OperationalError as error:
            if self._is_full(error):
                full = StoreFull if self.sqlite else ServerFull
                raise full("No space left to write the database.") from error
            raise
        finally:
            for action in consequences:
                _run(action)

    def _is_full(self, error: OperationalError) -> bool:
        """Whether a statement failed because the disk is full."""
        if "disk is full" in str(error) or "No space left" in str(error):
            return True
        # SQLite says so of every failed write but one of a page, such as of the file that its processes share.
        return self.sqlite and "disk I/O error" in str(error) and has_no_space(Path(self.url.database or "").parent)

    def bound_log(self) -> None:
        """Empties SQLite's write-ahead log if it is longer than MAX_LOG_BYTES.

        SQLite does so itself at a moment without readers, which does not come while they overlap without end; the log grows meanwhile, and
        slows them down. This waits for those who read now, while others wait to write, but for no longer than LOG_WAIT_MS.
        """
        log_file = Path(f"{self.url.database}-wal")
        if not self.sqlite or not log_file.is_file() or log_file.stat().st_size <= MAX_LOG_BYTES:
            return
        with closing(self.engine.raw_connection()) as connection:
            connection.execute(f"PRAGMA busy_timeout={LOG_WAIT_MS}")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    def ping(self) -> None:
        """Raises SQLAlchemy's OperationalError if the database does not answer."""
        with self._reader.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Closes all connections; one that is in use closes when it returns to the pool."""
        event.listen(self.engine, "checkin", lambda _connection, entry: entry.close())
        self.engine.dispose()


def _is_away(error: DBAPIError, *, write: bool) -> bool:
    """Whether an error says that PostgreSQL has ended the session, or takes no writes now, although its class says something else."""
    state = getattr(error.orig, "sqlstate", None) or ""
    if state == READ_ONLY:
        return write  # otherwise it is this program's fault
    return error.connection_invalidated or state == IDLE_TOO_LONG or "recovery" in str(error.orig)


def has_no_space(folder: Path) -> bool:
    """Returns whether a disk has less space than a database needs for a small transaction."""
    disk = os.statvfs(folder)
    return disk.f_blocks > 0 and disk.f_bavail * disk.f_frsize < LEAST_BYTES


def parse_url(url: str) -> URL:
    """Returns the parts of a database's URL. Raises BadSetting, without the URL, which may hold a password."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        parsed = None
    if parsed is not None and parsed.drivername in DRIVERS:
        if parsed.get_backend_name() == "sqlite" and parsed.query:
            raise BadSetting(
                f"What follows the question mark in the URL of the SQLite database would be arguments ({', '.join(parsed.query)}), and none "
                "are supported.",
                "Remove them from ADNERF_DATABASE_URL. If the question mark is of the data folder's path, choose another one.",
            )
        if parsed.get_backend_name() == "sqlite" and "?" in url:
            raise BadSetting(
                "The path of the database has a question mark, at which it would end.",
                "Choose another --data-dir, ADNERF_DATA_DIR or ADNERF_DATABASE_URL.",
            )
        return parsed
    raise BadSetting("ADNERF_DATABASE_URL is no URL such as postgresql+psycopg://user:password@host/name.")


@contextmanager
def require_database() -> Iterator[None]:
    """Raises DatabaseNotReady if the block cannot reach the database, a table is missing, its disk is full, or SQLite's file is damaged."""
    try:
        yield
    except (OperationalError, ProgrammingError) as error:
        reason = str(error.orig).strip()
        full = "disk is full" in reason or "No space left" in reason or "disk I/O error" in reason
        remedy = "Free space on the disk of the database: it is full, or damaged." if full else None
        raise DatabaseNotReady(f"The database cannot be used: {reason}.", remedy) from error
    except DatabaseError as error:
        reason = str(error.orig).strip()
        if "not a database" not in reason and "malformed" not in reason:
            raise
        remedy = "Restore adnerf.db from a backup (docs/operations.md), or move it away to begin anew."
        raise DatabaseNotReady(f"The database is damaged: {reason}.", remedy) from error


def hooks_of(session: Session) -> TransactionHooks:
    """Returns the hooks of a session that `Database.session` opened."""
    return session.info[_HOOKS]


def before_commit(session: Session, action: Action) -> None:
    """Runs `action` as the last step inside the transaction, unless the transaction has failed before."""
    hooks_of(session).before_commit.append(action)


def after_commit(session: Session, action: Action, *, remote: bool = False) -> None:
    """Runs `action` once the transaction is durable. Errors of `action` are logged.

    Args:
        remote: `action` calls another server, which may hang: `Database.remote` runs it, if there is one.
    """
    hooks = hooks_of(session)
    hooks.after_commit.append(_in_executor(hooks.remote, action) if remote else action)


def after_rollback(session: Session, action: Action, *, remote: bool = False) -> None:
    """Runs `action` if the transaction is rolled back. Errors of `action` are logged; `remote` as for `after_commit`."""
    hooks = hooks_of(session)
    hooks.after_rollback.append(_in_executor(hooks.remote, action) if remote else action)


@contextmanager
def savepoint(session: Session) -> Iterator[None]:
    """A part of the transaction: if the block raises, its changes are undone, and the transaction can go on.

    Of the actions that the undone part has registered, those of a rollback run when the transaction ends, either way.
    """
    hooks = hooks_of(session)
    before, after, rollback = (len(each) for each in (hooks.before_commit, hooks.after_commit, hooks.after_rollback))
    try:
        with session.begin_nested():
            yield
    except BaseException:
        del hooks.before_commit[before:], hooks.after_commit[after:]
        hooks.after_commit.extend(hooks.after_rollback[rollback:])
        raise


def _in_executor(executor: Executor | None, action: Action) -> Action:
    return action if executor is None else lambda: executor.submit(_run, action)


def _run(action: Action) -> None:
    try:
        action()
    except Exception:  # The transaction is over: an error here must not hide its outcome.
        log.exception("an action after the end of a transaction failed")


_HOOKS = "hooks"
"""The key of the TransactionHooks in `Session.info`, SQLAlchemy's place for an application's own data."""


def _require_files(database: str) -> None:
    """Raises DatabaseNotReady if something else than a file is in the place of an SQLite database or of the files beside it."""
    try:
        for suffix in ("", "-wal", "-shm", "-journal"):
            require_file(Path(database + suffix))
    except OSError as error:
        remedy = "Move it away, or restore adnerf.db from a backup (docs/operations.md)."
        raise DatabaseNotReady(f"The database cannot be used: {error.filename}: {error.strerror}.", remedy) from error


def _follow_file(engine: Engine, path: Path) -> None:
    """Lets every transaction begin on the file that is at `path` then.

    If it was removed, or moved and restored from a backup, while this process runs, an open connection would go on to write to the old
    file, where nobody finds it. No second file is created: a service without its database waits for it, as for a server.
    """
    opened: set[tuple[int, int]] = set()

    def connect(*_: object) -> None:
        if opened and not path.exists():
            raise sqlite3.OperationalError(f"the file {path} is gone")

    def note(_connection: object, record: ConnectionPoolEntry) -> None:
        status = path.stat()
        record.info["file"] = status.st_dev, status.st_ino
        opened.add(record.info["file"])

    def check(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        try:
            status = path.stat()
        except FileNotFoundError:
            raise DisconnectionError from None
        if record.info.get("file") != (status.st_dev, status.st_ino):
            raise DisconnectionError

    for name, listener in (("do_connect", connect), ("connect", note), ("checkout", check)):
        event.listen(engine, name, listener)


def _prepare_sqlite(connection, _record) -> None:
    connection.isolation_level = None  # The driver must not begin transactions itself: _begin_sqlite does.
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _use_write_ahead_log(connection)
    # What is deleted is overwritten: a backup copies free pages as well. Some builds of SQLite do not do so by themselves.
    for pragma in ("foreign_keys=ON", "synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")
    # A search that ignores case compares lower(text); SQLite's own changes the letters of ASCII only. NULL stays NULL.
    connection.create_function("lower", 1, lambda text: text and text.lower(), deterministic=True)


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Sets the journal mode. Of a new database it changes, for which SQLite does not wait if another process changes it at the same time."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _require_utf8(connection, _record) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DatabaseNotReady(
            f"The PostgreSQL database has the encoding {encoding}, which cannot store all names and texts.",
            "Create it anew: createdb --encoding UTF8 --template template0 NAME.",
        )


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
