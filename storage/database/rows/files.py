"""Uploads, and files that are verified."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

VerificationState = Literal["queued", "running", "succeeded", "failed"]


class Upload(Base):
    """A resumable upload, which can be used once; storage/tables/uploads.py writes it.

    `received` of its `size` bytes are stored, as parts. `used_by` is the id of the subject or video that was created from it.
    `sent_metadata` is the header Upload-Metadata as the client sent it.
    """

    __tablename__ = "uploads"
    __table_args__ = (Index(None, "owner", "id"), Index(None, "owner", "used_by", "received"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    size: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    sent_metadata: Mapped[str]
    used_by: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)
    parts: Mapped[list[UploadPart]] = relationship(order_by="UploadPart.start", viewonly=True)


class UploadPart(Base):
    """An object that holds the bytes of an upload from offset `start` up to the next part."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str]


class Verification(Base):
    """A request to check whether this service made a video file; storage/tables/verifications.py writes it.

    `file_key` names the file until the check has ended. `findings` is the result, as api/services/verifications.py presents
    it. `made_id` is the id of the video that the file was recognised as, if any.
    """

    __tablename__ = "verifications"
    __table_args__ = (Index(None, "state", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    state: Mapped[VerificationState] = mapped_column(String(16), default="queued")
    file_key: Mapped[str | None]
    sha256: Mapped[str] = mapped_column(String(64))
    findings: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    made_id: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int] = mapped_column(default=3, server_default="3")
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
