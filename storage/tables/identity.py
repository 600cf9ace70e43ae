"""The one row that says which database this is, and which key its videos are marked with."""

from __future__ import annotations

import secrets

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Identity, Video

NAME = "database"
"""The primary key of the table's only row."""


def read(session: Session) -> Identity:
    """Returns the row; a new database gets one."""
    new_id = f"db_{secrets.token_hex(16)}"
    queries.insert_ignoring_conflicts(session, Identity, name=NAME, id=new_id, generation=0)
    return session.scalars(select(Identity), execution_options={"populate_existing": True}).one()


def has_marks(session: Session) -> bool:
    """Returns whether the key of the watermark is recorded, or a video was finished that bears a mark."""
    recorded = session.scalars(select(Identity.mark_key_sha256)).first()
    marked = select(Video.id).where(Video.mark.is_not(None), Video.state == "ready").limit(1)
    return recorded is not None or session.scalars(marked).first() is not None


def record_mark_key(session: Session, sha256: str, *, replace: bool = False) -> str:
    """Records the fingerprint of the watermark's key, unless one is recorded and shall stay; returns the recorded one."""
    read(session)
    statement = update(Identity).values(mark_key_sha256=sha256)
    if not replace:
        statement = statement.where(Identity.mark_key_sha256.is_(None))
    session.execute(statement, execution_options={"synchronize_session": False})
    return read(session).mark_key_sha256
