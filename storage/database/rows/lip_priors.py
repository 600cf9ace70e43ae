"""Priors of lips that were learnt here."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

LipPriorState = Literal["queued", "running", "adopted", "rejected", "failed", "dropped"]


class LipPrior(Base):
    """A prior of lips, or the work of learning one; storage/tables/lip_priors.py writes it.

    `people` are the figures of the subjects it was learnt from, by their ids (None: nothing could be learnt from that one), and `figures`
    their means (adnerf_core/training/lip_prior.py). An adopted one has an object, `object_key`; `current` is the one that trainings start
    from; the others are deleted some time after `unused_since`. A dropped one has neither object nor people.
    """

    __tablename__ = "lip_priors"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    state: Mapped[LipPriorState] = mapped_column(String(16), default="queued")
    current: Mapped[bool] = mapped_column(default=False)
    people: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    figures: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    object_key: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    error: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    attempt: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    unused_since: Mapped[datetime | None] = mapped_column(UtcTime)
