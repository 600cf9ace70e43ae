"""The certificates that this service has signed videos with: by them a video is known to be its own, on any machine."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from storage.database.models import Certificate

_INSERT = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def add(session: Session, serial: str, chain: str) -> None:
    """Notes a certificate (its serial number in decimal, and its chain in PEM) that videos are signed with from now on."""
    insert = _INSERT[session.get_bind().dialect.name]
    session.execute(insert(Certificate).values(serial=serial, chain=chain).on_conflict_do_nothing())


def chains(session: Session) -> dict[str, str]:
    """All of them, by serial number."""
    return {row.serial: row.chain for row in session.scalars(select(Certificate))}
