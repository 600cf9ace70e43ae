"""Jobs, what is recorded of them, and the workers that run them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

JobKind = Literal["preprocess", "train", "render"]
JobPriority = Literal["normal", "low"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Job(Base):
    """One piece of work for a worker. Only storage/tables/jobs.py writes its `state`.

    `attempt` is raised by every claim and never lowered, so that it fences writes of earlier claims; an attempt that must not
    count raises `max_attempts` as well. Every change of the row raises `revision`. `wake_at` is the time at which workers have
    to be notified (again) of a queued job; it is None unless the job is queued. The queue is claimed in the order of `priority`
    (0 normal, 1 low), `turn` and `queued_at`; storage/tables/queue.py says how turns are given.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "state", "queued_at", "id"),  # How long jobs have waited.
        Index(None, "state", "kind", "queued_at", "id"),  # The same by kind, for metrics.
        Index(None, "state", "priority", "turn", "queued_at", "id"),  # The queue in the order of claims.
        Index(None, "state", "kind", "priority", "turn", "queued_at", "id"),  # The same for workers of one kind.
        Index(None, "owner", "state", "priority", "turn"),  # The last turn of an owner.
        Index(None, "owner", "id"),  # This one and the others: listings, newest first.
        Index(None, "owner", "state", "id"),
        Index(None, "owner", "kind", "id"),
        Index(None, "kind", "state", "id"),  # The latest that have succeeded, for estimates.
        Index(None, "subject_id", "id"),
        Index(None, "subject_id", "kind", "id"),  # A subject's own jobs among those of its many videos.
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    kind: Mapped[JobKind] = mapped_column(String(16))
    state: Mapped[JobState] = mapped_column(String(16))
    subject_id: Mapped[str] = mapped_column(ForeignKey("subjects.id", ondelete="CASCADE"))
    video_id: Mapped[str | None] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"), index=True)
    stage: Mapped[str | None] = mapped_column(String(32))
    progress: Mapped[float] = mapped_column(default=0.0)
    eta_s: Mapped[float | None]
    attempt: Mapped[int] = mapped_column(default=0)
    max_attempts: Mapped[int]
    error: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    worker: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    wake_at: Mapped[datetime | None] = mapped_column(UtcTime, index=True)
    priority: Mapped[int] = mapped_column(SmallInteger, default=0, server_default="0")
    turn: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    revision: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    queued_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class JobEvent(Base):
    """A change of a job's state or stage (`name` says of which); storage/tables/job_events.py writes it.

    `then` is a snapshot of the job's progress after the change.
    """

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(8))
    then: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)


class Worker(Base):
    """A worker process, described by itself; storage/tables/workers.py writes it.

    `device` has `name`, `disk_free_bytes`, `ffmpeg` (the version that it runs), and for a GPU also `memory_bytes` and `used_bytes`.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    host: Mapped[str]
    queues: Mapped[list[str]] = mapped_column(JSON)
    device: Mapped[dict[str, Any]] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Voice(Base):
    """A voice that workers can read scripts with; storage/tables/voices.py writes it. The smallest `position` is the default voice.

    `sample` is a WAV; `sample_sha256` is set with it.
    """

    __tablename__ = "voices"

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    name: Mapped[str]
    language: Mapped[str] = mapped_column(String(32))
    engine: Mapped[str] = mapped_column(String(32))
    licence: Mapped[str]
    position: Mapped[int]
    sample: Mapped[bytes | None] = mapped_column(LargeBinary, deferred=True)
    sample_sha256: Mapped[str | None] = mapped_column(String(64))
    seen_at: Mapped[datetime] = mapped_column(UtcTime)


class Counter(Base):
    """The number of events of one kind, and their total duration in seconds; storage/tables/counters.py writes it."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    kind: Mapped[JobKind] = mapped_column(String(16), primary_key=True)
    label: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
