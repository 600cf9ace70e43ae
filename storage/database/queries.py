"""Finding rows: by id, and page by page, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database.models import Base
from storage.errors import NotFound

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and where the next page begins; `next_cursor` is None on the last page."""

    items: list[Row]
    next_cursor: str | None


def get(session: Session, model: type[Row], row_id: str, *, owner: str | None = None, hold: bool = False) -> Row:
    """The row as it is now; with `hold`, nobody removes or changes it before this transaction ends.

    What belongs to another than `owner` (None: the service itself asks) is as if it were not there. Raises NotFound.
    """
    query = select(model).where(model.id == row_id)
    if owner is not None:
        query = query.where(model.owner == owner)
    if hold:
        query = query.with_for_update(read=True)  # SQLite: writers wait for each other anyway
    fresh = {"populate_existing": True}
    row = session.scalars(query, execution_options=fresh).one_or_none() if _can_be(row_id) else None
    if row is None:
        raise NotFound(f"There is no {model.__name__.lower()} {row_id}.")
    return row


def page(session: Session, model: type[Row], *, limit: int = 50, cursor: str | None = None, **equal) -> Page[Row]:
    """Rows whose columns have the values in `equal` (None: any), newest first, after the row that `cursor` names."""
    if not all(map(_can_be, equal.values())):
        return Page([], None)
    query = select(model).order_by(model.id.desc()).limit(limit + 1)
    query = query.where(*(getattr(model, name) == value for name, value in equal.items() if value is not None))
    if cursor is not None:
        query = query.where(model.id < cursor)
    rows = list(session.scalars(query))
    return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def _can_be(value: object) -> bool:
    """Whether a column can have this value: PostgreSQL's text has no NUL, and takes a question about one for an error."""
    return not isinstance(value, str) or "\0" not in value
