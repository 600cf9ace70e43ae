"""The rows: Subject, Video, Job, Worker, Tally. Ids are opaque, carry a prefix, and sort by the time they were made."""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timezone
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Index, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

JobKind = Literal["preprocess", "train", "render"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
SubjectState = Literal["pending", "preprocessing", "training", "ready", "failed", "cancelled"]
VideoState = Literal["pending", "rendering", "ready", "failed", "cancelled"]


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


def new_id(prefix: str) -> str:
    """A new id such as `sub_0198c2...`: 12 hex digits of the time in ms, then 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class UtcTime(TypeDecorator[datetime]):
    """A time in UTC; SQLite keeps no zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else value.astimezone(timezone.utc)

    def process_result_value(self, value, dialect):
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


class Base(DeclarativeBase):
    """Constraint names are fixed, so that migrations can name them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Subject(Base):
    """A person of whom videos can be made. Keys name objects in the store."""

    __tablename__ = "subjects"
    __table_args__ = (Index(None, "state", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str]
    state: Mapped[SubjectState] = mapped_column(String(16))
    preset: Mapped[str] = mapped_column(String(16))
    consent: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    footage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    quality: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    source_key: Mapped[str]
    dataset_key: Mapped[str | None]
    checkpoint_key: Mapped[str | None]
    run_key: Mapped[str | None]
    preview_key: Mapped[str | None]
    report_key: Mapped[str | None]
    view_limits: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    jobs: Mapped[list[Job]] = relationship(
        primaryjoin="and_(Job.subject_id == Subject.id, Job.kind.in_(['preprocess', 'train']))",
        order_by="Job.id",
        viewonly=True,
        lazy="selectin",
    )


class Video(Base):
    """A subject saying something. `file_key`, `sha256` and the measures are there once it is ready."""

    __tablename__ = "videos"
    __table_args__ = (Index(None, "state", "id"), Index(None, "subject_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    subject_id: Mapped[str] = mapped_column(ForeignKey("subjects.id", ondelete="CASCADE"))
    state: Mapped[VideoState] = mapped_column(String(16))
    options: Mapped[dict[str, Any]] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    audio_key: Mapped[str]
    background_key: Mapped[str | None]
    file_key: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    duration_s: Mapped[float | None]
    frames: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    view: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    job: Mapped[Job] = relationship(viewonly=True, lazy="selectin")


class Job(Base):
    """One piece of work for a worker. Only storage/jobs.py writes its `state`.

    `attempt` is raised by every claim and never goes down, so that it can fence what an earlier claim still writes;
    a start that shall not count raises `max_attempts` instead. `revision` is raised by every change of the row.
    `wake_at` is when a worker has to be told of a queued job (again); None once one has it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "state", "queued_at", "id"),  # the queue, in the order of claims
        Index(None, "state", "kind", "queued_at", "id"),  # the same for workers of one kind of jobs, and for figures
        Index(None, "state", "id"),  # the others: listings, newest first
        Index(None, "kind", "id"),
        Index(None, "subject_id", "id"),
        Index(None, "subject_id", "kind", "id"),  # a subject's own jobs among those of its many videos
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
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
    revision: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    queued_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Worker(Base):
    """A worker process, as it tells of itself; storage/workers.py writes it.

    `device` has `name`, `disk_free_bytes`, and for a GPU `memory_bytes` and `used_bytes`.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(80), primary_key=True)
    host: Mapped[str]
    queues: Mapped[list[str]] = mapped_column(JSON)
    device: Mapped[dict[str, Any]] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Tally(Base):
    """How often something has happened to jobs of one kind, and how long it took; storage/tallies.py writes it."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    kind: Mapped[JobKind] = mapped_column(String(16), primary_key=True)
    label: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
