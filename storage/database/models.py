"""The rows: Subject, Video, Job, Worker, Tally. Ids are opaque, carry a prefix, and sort by the time they were made.

A subject has an `owner`, to whom its videos and jobs belong too; what clients see and do is theirs (storage/database/queries.py).
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timezone
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from storage.database.base import Base, UtcTime

JobKind = Literal["preprocess", "train", "render"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
SubjectState = Literal["pending", "preprocessing", "training", "ready", "failed", "cancelled"]
VideoState = Literal["pending", "rendering", "ready", "failed", "cancelled"]
VerificationState = Literal["queued", "running", "succeeded", "failed"]
WebhookEvent = Literal[
    "job.succeeded", "job.failed", "job.cancelled", "subject.ready", "subject.failed", "video.ready", "video.failed"
]
DeliveryState = Literal["pending", "delivered", "failed"]

LOCAL = "local"
"""Whose everything is that is made without keys."""


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(timezone.utc)


def new_id(prefix: str) -> str:
    """A new id such as `sub_0198c2...`: 12 hex digits of the time in ms, then 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Subject(Base):
    """A person of whom videos can be made. Keys name objects in the store.

    The record of the person's consent is `consent` (its text), `consent_by`, `created_at` and `footage_sha256`; see
    storage/tables/consents.py.
    """

    __tablename__ = "subjects"
    __table_args__ = (Index(None, "owner", "id"), Index(None, "owner", "state", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    state: Mapped[SubjectState] = mapped_column(String(16))
    preset: Mapped[str] = mapped_column(String(16))
    consent: Mapped[str]
    consent_by: Mapped[str | None]
    footage_sha256: Mapped[str | None] = mapped_column(String(64))
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcTime)
    purged_at: Mapped[datetime | None] = mapped_column(UtcTime)
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
    views: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    views_key: Mapped[str | None]
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    jobs: Mapped[list[Job]] = relationship(
        primaryjoin="and_(Job.subject_id == Subject.id, Job.kind.in_(['preprocess', 'train']))",
        order_by="Job.id",
        viewonly=True,
        lazy="selectin",
    )


class Video(Base):
    """A subject saying something. `file_key`, `sha256` and the measures are there once it is ready.

    `mark` is the number that the picture carries invisibly; `credentials_key` names the manifest of a format that cannot
    hold its own (WebM).
    """

    __tablename__ = "videos"
    __table_args__ = (Index(None, "owner", "id"), Index(None, "owner", "state", "id"), Index(None, "subject_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str] = mapped_column(ForeignKey("subjects.id", ondelete="CASCADE"))
    state: Mapped[VideoState] = mapped_column(String(16))
    options: Mapped[dict[str, Any]] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    audio_key: Mapped[str]
    background_key: Mapped[str | None]
    file_key: Mapped[str | None]
    credentials_key: Mapped[str | None]
    mark: Mapped[int | None] = mapped_column(BigInteger, index=True, unique=True)
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    duration_s: Mapped[float | None]
    frames: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    view: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    job: Mapped[Job] = relationship(viewonly=True, lazy="selectin")


class Upload(Base):
    """A file that arrives piece by piece, to be used once; storage/tables/uploads.py writes it.

    `received` of its `size` bytes are there, as its parts; `used_by` is the subject or video that was made of it, and
    `sent_metadata` the header Upload-Metadata as it came.
    """

    __tablename__ = "uploads"
    __table_args__ = (Index(None, "owner", "id"),)

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
    """The object that holds the bytes of an upload from `start` on, up to the next part."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str]


class Job(Base):
    """One piece of work for a worker. Only storage/tables/jobs.py writes its `state`.

    `attempt` is raised by every claim and never goes down, so that it can fence what an earlier claim still writes;
    a start that shall not count raises `max_attempts` instead. `revision` is raised by every change of the row.
    `wake_at` is when a worker has to be told of a queued job (again); None once one has it.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "state", "queued_at", "id"),  # the queue, in the order of claims
        Index(None, "state", "kind", "queued_at", "id"),  # the same for workers of one kind of jobs, and for figures
        Index(None, "owner", "id"),  # the others: listings, newest first
        Index(None, "owner", "state", "id"),
        Index(None, "owner", "kind", "id"),
        Index(None, "subject_id", "id"),
        Index(None, "subject_id", "kind", "id"),  # a subject's own jobs among those of its many videos
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
    revision: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    queued_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class JobEvent(Base):
    """What a job had come to when its state or stage (`name`) changed; storage/tables/job_events.py writes it."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(8))
    then: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)


class Worker(Base):
    """A worker process, as it tells of itself; storage/tables/workers.py writes it.

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
    """How often something has happened to jobs of one kind, and how long it took; storage/tables/counters.py writes it."""

    __tablename__ = "tallies"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    kind: Mapped[JobKind] = mapped_column(String(16), primary_key=True)
    label: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)


class Answer(Base):
    """What a request with an Idempotency-Key was answered with; storage/tables/idempotency.py writes it.

    `key` and `fingerprint` are digests of the client's key and of the request. Without `body` the answer held a secret.
    """

    __tablename__ = "answers"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    route: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)


class Webhook(Base):
    """An address that an owner wants to be told at; storage/tables/webhooks.py writes it.

    Its secret is not kept: it follows from the service's key, the id and `generation` (worker/webhooks/signing.py).
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
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Delivery(Base):
    """One event for one webhook; `body` is what is sent. storage/tables/webhooks.py writes it.

    `next_at` is when a pending one is due; that of one under way is when its worker counts as gone.
    """

    __tablename__ = "deliveries"
    __table_args__ = (Index(None, "state", "next_at"), Index(None, "webhook_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    event: Mapped[str] = mapped_column(String(32))
    body: Mapped[str]
    state: Mapped[DeliveryState] = mapped_column(String(16), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    last_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_status: Mapped[int | None]
    last_error: Mapped[str | None]
    response: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Key(Base):
    """An API key; storage/tables/api_keys.py writes it. Of the secret, and for a while of the one before, there is only a hash."""

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


class Verification(Base):
    """A video file that is looked at: was it made here? storage/tables/verifications.py writes it; the file goes when it is done.

    `findings` are those of api/services/verifications.py, `made_id` is the video that the file was found to be, if it is known here.
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
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Certificate(Base):
    """A certificate that a worker of this service signs, or once signed, videos with; none of it is secret.

    `chain` is PEM, the certificate first; storage/tables/certificates.py writes it.
    """

    __tablename__ = "certificates"

    serial: Mapped[str] = mapped_column(String(64), primary_key=True)
    chain: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Owner(Base):
    """Somebody whose quotas are not those of the settings, or were looked at; storage/tables/quotas.py writes it.

    `quotas` has those that differ. Its lock makes transactions of one owner count one after the other.
    """

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    quotas: Mapped[dict[str, float]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Usage(Base):
    """Seconds of video that were rendered for an owner on one day (ISO 8601, UTC); storage/tables/quotas.py writes it."""

    __tablename__ = "usages"

    owner: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    seconds: Mapped[float] = mapped_column(default=0.0)
