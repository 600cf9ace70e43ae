"""API keys, and the quotas and stored responses of owners."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKeyConstraint, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

LARGE_CHARS = 16_384
"""Characters of a stored response's body beyond which it is large: all but batches, and videos with the longest texts, have fewer."""
LARGE = f"length(body) > {LARGE_CHARS}"
"""The condition of large responses. Their index is used only by queries that repeat it literally."""


class Key(Base):
    """An API key; storage/tables/api_keys.py writes it. Secrets are stored as hashes only.

    After a rotation `previous_sha256` is valid until `previous_until`.
    """

    __tablename__ = "keys"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    previous_sha256: Mapped[str | None] = mapped_column(String(64))
    previous_until: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Owner(Base):
    """The quotas of an owner that differ from the settings; storage/tables/quotas.py writes it.

    A row exists once a quota of the owner was set or checked. Locking it serializes the checks of one owner.
    """

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    quotas: Mapped[dict[str, float]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Usage(Base):
    """Seconds of video rendered for an owner on one UTC day (ISO 8601 date); storage/tables/quotas.py writes it."""

    __tablename__ = "usages"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    seconds: Mapped[float] = mapped_column(default=0.0)


class StoredResponse(Base):
    """The response to a request with an Idempotency-Key; storage/tables/idempotency.py writes it.

    `key` and `fingerprint` are digests of the client's key and of the request. `body` is None if the response held a
    secret; it is None and `headers` are empty if the response named a resource that was deleted since.
    """

    __tablename__ = "answers"
    __table_args__ = (
        Index("ix_answers_large", "owner", sqlite_where=text(LARGE), postgresql_where=text(LARGE)),  # Their number.
        Index(None, "owner", "created_at"),  # The oldest of an owner.
    )

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)


class ResponseResource(Base):
    """A resource that the body of a stored response names, so that its deletion finds the response; storage/tables/idempotency.py."""

    __tablename__ = "answer_resources"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner", "route", "key"], ["answers.owner", "answers.route", "answers.key"], ondelete="CASCADE"
        ),
        Index(None, "owner", "route", "key"),  # For the removal with the response.
    )

    resource_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
