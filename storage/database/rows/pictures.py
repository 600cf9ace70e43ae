"""What is shown of videos besides themselves: links for everybody, and frames that show what a video will look like."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

PreviewFrameState = Literal["queued", "running", "succeeded", "failed"]


class Share(Base):
    """A link by which everybody can watch a video until it expires or the row is deleted; storage/tables/shares.py writes it."""

    __tablename__ = "shares"
    __table_args__ = (Index(None, "video_id", "id"), Index(None, "owner", "expires_at"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    video_id: Mapped[str] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    expires_at: Mapped[datetime] = mapped_column(UtcTime, index=True)


class PreviewFrame(Base):
    """A request for a frame as a video with these options will show it; storage/tables/preview_frames.py writes it.

    `digest` is of the subject's version, the options and the background picture; `background_key` names that until the frame is rendered.
    `picture` is the frame, a JPEG. `asked_at` is the time of the last request for it. Processes of an earlier version write the
    background itself, into `background`.
    """

    __tablename__ = "preview_frames"
    __table_args__ = (Index(None, "state", "owner", "asked_at"),)

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str] = mapped_column(ForeignKey("subjects.id", ondelete="CASCADE"), index=True)
    options: Mapped[dict[str, Any]] = mapped_column(JSON(none_as_null=True))
    background: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    background_key: Mapped[str | None]
    state: Mapped[PreviewFrameState] = mapped_column(String(16), default="queued")
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    picture: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    error: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    asked_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)
