"""Statements that several tables need: rows by id, pages of rows, upserts, and bulk updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Delete, Update, delete, func, inspect, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from storage.database.models import Base, Job, Subject, Video, now
from storage.errors import NotFound

Row = TypeVar("Row", bound=Base)

AT_ONCE = 1000
"""Rows that one transaction deletes, where there may be very many: other writers wait for it, some 50 ms."""


PAGE_BYTES = 256 << 10
"""Size of the texts of a page, from which on it ends: to write a hundred rows of 30 kB as JSON takes a processor for a tenth of a second."""


@dataclass(frozen=True)
class Page(Generic[Row]):
    """One page of rows. `next_cursor` starts the next page; it is None on the last page."""

    items: list[Row]
    next_cursor: str | None


def get(
    session: Session,
    model: type[Row],
    row_id: str,
    *,
    owner: str | None = None,
    lock: bool = False,
    for_change: bool = False,
) -> Row:
    """Reads the current state of one row. A subject that is being deleted, its videos and its jobs count as deleted.

    Args:
        owner: Only a row of this owner is found; None finds a row of any owner.
        lock: Prevents changes to the row, and its removal, by other transactions until this one ends.
        for_change: Also prevents other transactions from locking the row: those who change it check it one after the other.

    Raises:
        NotFound: there is no such row.
    """
    query = select(model).where(model.id == row_id, *_undeleted(model))
    if owner is not None:
        query = query.where(model.owner == owner)
    if lock or for_change:
        query = query.with_for_update(read=not for_change)  # On SQLite writers wait for each other anyway.
    options = {"populate_existing": True}
    row = session.scalars(query, execution_options=options).one_or_none() if _is_storable(row_id) else None
    if row is None:
        raise NotFound(f"There is no {model.__name__.lower()} {row_id}.")
    return row


def page(
    session: Session,
    model: type[Row],
    *where: ColumnElement[bool],
    limit: int = 50,
    cursor: str | None = None,
    **equal: Any,
) -> Page[Row]:
    """Reads one page of rows, newest first; `get` tells which are left out.

    Args:
        where: Further conditions.
        limit: Largest number of rows on the page, which has fewer if their texts are long (PAGE_BYTES).
        cursor: `next_cursor` of the page before; None reads the first page.
        equal: Values that the rows must have, by column; None allows any value.
    """
    if not all(map(_is_storable, equal.values())):
        return Page([], None)
    query = select(model).order_by(model.id.desc()).limit(limit + 1)
    query = query.where(
        *where,
        *_undeleted(model),
        *(getattr(model, name) == value for name, value in equal.items() if value is not None),
    )
    if cursor is not None:
        query = query.where(model.id < cursor)
    rows = list(session.scalars(query))
    limit = min(limit, _number_that_fits(rows))
    return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def _number_that_fits(rows: list[Row]) -> int:
    """Returns how many of the rows a page can hold, at least one."""
    size = 0
    for number, row in enumerate(rows):
        size += sum(len(str(value)) for value in vars(row).values())  # what was read, without deferred columns
        if size > PAGE_BYTES:
            return max(1, number)
    return len(rows)


def server_now(session: Session) -> datetime:
    """Returns the time of the database server in UTC: one clock for all machines. SQLite has that of this machine."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    return session.scalars(select(func.clock_timestamp())).one().astimezone(UTC)


def execute_update(session: Session, statement: Update | Delete) -> int:
    """Runs an UPDATE or DELETE without applying it to the rows that the session has loaded; returns the number of rows."""
    return session.execute(statement, execution_options={"synchronize_session": False}).rowcount


def delete_some(session: Session, model: type[Base], *where: ColumnElement[bool]) -> int:
    """Deletes AT_ONCE rows at most; returns their number, which is less only if none is left but those that others change now."""
    key = inspect(model).primary_key
    some = select(*key).where(*where).limit(AT_ONCE).with_for_update(skip_locked=True)
    return execute_update(session, delete(model).where(tuple_(*key).in_(some)))


def insert_ignoring_conflicts(session: Session, model: type[Base], **values: Any) -> None:
    """Inserts a row unless there is one with the same primary key or unique value."""
    session.execute(_insert(session, model).values(**values).on_conflict_do_nothing())


def upsert(
    session: Session,
    model: type[Base],
    values: Mapping[str, Any],
    *,
    update: Mapping[str, Any],
    where: ColumnElement[bool] | None = None,
) -> bool:
    """Inserts a row, or updates the row that has the same primary key.

    Waits for another transaction that is writing the same row.

    Args:
        values: The new row, by column.
        update: The columns to set if the row exists already.
        where: Condition under which an existing row is updated; None updates it always.

    Returns:
        Whether a row was inserted or updated.
    """
    key = inspect(model).primary_key
    statement = _insert(session, model).values(**values)
    statement = statement.on_conflict_do_update(index_elements=key, set_=update, where=where).returning(key[0])
    return session.scalars(statement).one_or_none() is not None


def _insert(session: Session, model: type[Base]) -> Any:
    """An INSERT in the dialect of the session's database: standard SQL has no ON CONFLICT."""
    dialects = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return dialects[session.get_bind().dialect.name](model)


def _undeleted(model: type[Base]) -> tuple[ColumnElement[bool], ...]:
    """Conditions for the rows of subjects that are not being deleted."""
    if model is Subject:
        return (Subject.deleted_at.is_(None),)
    if model in (Video, Job):
        deleted = select(Subject.id).where(Subject.id == model.subject_id, Subject.deleted_at.is_not(None))
        return (~deleted.exists(),)
    return ()


def _is_storable(value: object) -> bool:
    """Whether a column can hold this value. PostgreSQL's text has no NUL character, and a query that contains one fails."""
    return not isinstance(value, str) or "\0" not in value
