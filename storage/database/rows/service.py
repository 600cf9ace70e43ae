"""What the service records of itself: its identity, certificates and requested deletions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now


class Certificate(Base):
    """A certificate that workers of this service sign videos with, or did before; storage/tables/certificates.py writes it.

    `chain` is public: PEM, the certificate first, then its issuers'.
    """

    __tablename__ = "certificates"

    serial: Mapped[str] = mapped_column(String(64), primary_key=True)
    chain: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Identity(Base):
    """The identity of this database, in one row; storage/store_identity.py and storage/tables/identity.py write it.

    The object store holds a copy. `generation` grows with every cleanup of the store, so that an older copy of the database is
    recognized by its lower number. `mark_key_sha256` is the fingerprint of the key of the watermark; None until a worker has
    started.
    """

    __tablename__ = "identity"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    id: Mapped[str] = mapped_column(String(40))
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    mark_key_sha256: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Deletion(Base):
    """A folder (`prefix` ends in a slash) or an object of the store that is to be deleted; storage/tables/deletions.py writes it."""

    __tablename__ = "deletions"

    prefix: Mapped[str] = mapped_column(String(120), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)
