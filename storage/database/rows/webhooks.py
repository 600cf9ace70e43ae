"""Webhooks and their deliveries."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy import JSON, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

WebhookEvent = Literal[
    "job.succeeded", "job.failed", "job.cancelled", "subject.ready", "subject.failed", "video.ready", "video.failed"
]
DeliveryState = Literal["pending", "delivered", "failed"]


PENDING = text("state = 'pending'")
"""The condition of a partial index, which is used only by queries that repeat it literally."""


class Webhook(Base):
    """A URL to which events of an owner are sent; storage/tables/webhooks.py writes it.

    Its secret is not stored, but derived from the service's key, the id and `generation` (worker/webhooks/signing.py). Until
    `both_sign_until`, deliveries are signed with the previous secret too. Until `held_until`, nothing is sent. While a worker sends a
    delivery, `sending` is its claim: the delivery's id, a colon, and a random part.
    """

    __tablename__ = "webhooks"
    __table_args__ = (Index(None, "owner", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    url: Mapped[str]
    events: Mapped[list[WebhookEvent]] = mapped_column(JSON)
    description: Mapped[str]
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_because: Mapped[str | None] = mapped_column(String(16))
    generation: Mapped[int] = mapped_column(default=1)
    both_sign_until: Mapped[datetime | None] = mapped_column(UtcTime)
    failing_since: Mapped[datetime | None] = mapped_column(UtcTime)
    held_until: Mapped[datetime | None] = mapped_column(UtcTime)
    sending: Mapped[str | None] = mapped_column(String(60), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Delivery(Base):
    """One event for one webhook, with the request `body`; storage/tables/webhooks.py writes it.

    `next_at` is the time at which a pending delivery is due; one without attempts is always due. While a worker sends it, `next_at` is
    the end of the lease by that worker's clock, which only operators and workers of the previous version look at. `subject_id` and
    `video_id` are what the body names: with their deletion goes the delivery.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index(None, "webhook_id", "id"),
        # Serves the search for due and for pending deliveries.
        Index(None, "webhook_id", "next_at", "id", sqlite_where=PENDING, postgresql_where=PENDING),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(32))
    body: Mapped[str]
    subject_id: Mapped[str | None] = mapped_column(String(40), index=True)
    video_id: Mapped[str | None] = mapped_column(String(40), index=True)
    state: Mapped[DeliveryState] = mapped_column(String(16), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    last_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    response: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)
