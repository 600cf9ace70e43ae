"""Finding rows: by id, and page by page, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.errors import NotFound
from storage.models import Base

Row = TypeVar("Row", bound=Base)


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Some rows, and where the next page begins; `next_cursor` is None on the last page."""

    items: list[Row]
    next_cursor: str | None


def get(session: Session, model: type[Row], row_id: str, *, hold: bool = False) -> Row:
    """The row as it is now; with `hold`, nobody removes it before this transaction ends. Raises NotFound."""
    lock = {"key_share": True, "read": True} if hold else None  # SQLite: writers wait for each other anyway
    row = session.get(model, row_id, populate_existing=True, with_for_update=lock)
    if row is None:
        raise NotFound(f"There is no {model.__name__.lower()} {row_id}.")
    return row


def page(session: Session, model: type[Row], *, limit: int, cursor: str | None = None, **equal) -> Page[Row]:
    """Rows whose columns have the values in `equal` (None: any), newest first, after the row that `cursor` names."""
    query = select(model).order_by(model.id.desc()).limit(limit + 1)
    query = query.where(*(getattr(model, name) == value for name, value in equal.items() if value is not None))
    if cursor is not None:
        query = query.where(model.id < cursor)
    rows = list(session.scalars(query))
    return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)
