"""The certificates that this service has signed videos with, so that every machine recognises the service's own videos."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Certificate


def add(session: Session, serial: str, chain: str) -> None:
    """Records a signing certificate: its serial number in decimal, and its chain in PEM. A known one is left as it is."""
    queries.insert_ignoring_conflicts(session, Certificate, serial=serial, chain=chain)


def chains(session: Session) -> dict[str, str]:
    """Returns the PEM chains of all certificates by serial number."""
    return {row.serial: row.chain for row in session.scalars(select(Certificate))}
