"""The tables. Ids are opaque, carry a prefix per table, and sort by creation time.

Most rows have an `owner`, the tenant whose API keys can read and change them (storage/database/queries.py). The videos and
jobs of a subject have the owner of the subject. Columns whose name ends in `_key` name objects in the store. A new column of
this kind gets a place of its own in the store (storage/object_places.py), which earlier versions do not know and leave alone.
"""

from __future__ import annotations

import secrets
import time
from datetime import datetime, timezone
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from storage.database.base import Base, UtcTime

JobKind = Literal["preprocess", "train", "render"]
JobState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
SubjectState = Literal["pending", "preprocessing", "training", "ready", "failed", "cancelled"]
JobPriority = Literal["normal", "low"]
VideoState = Literal["pending", "rendering", "ready", "failed", "cancelled"]
VerificationState = Literal["queued", "running", "succeeded", "failed"]
WebhookEvent = Literal[
    "job.succeeded", "job.failed", "job.cancelled", "subject.ready", "subject.failed", "video.ready", "video.failed"
]
DeliveryState = Literal["pending", "delivered", "failed"]

LOCAL = "local"
"""The owner of everything that is created without an API key."""


def now() -> datetime:
    """Returns the current time in UTC."""
    return datetime.now(timezone.utc)


def new_id(prefix: str) -> str:
    """Returns a new id such as `sub_0198c2...`: 12 hex digits of the Unix time in ms, then 80 random bits."""
    return f"{prefix}_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


class Subject(Base):
    """A person, the model that is trained from the reference video, and the consent to show the person.

    The consent record consists of `consent` (its text), `consent_by`, `created_at`, `footage_sha256`, `withdrawn_at` and
    `purged_at`; see storage/tables/consents.py. `full_frame` is the size of its footage in videos (`width`, `height`, px); None
    until it is ready, and for a subject of an earlier version.
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
    full_frame: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    views: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    views_key: Mapped[str | None]
    thumbnail_key: Mapped[str | None]
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    jobs: Mapped[list[Job]] = relationship(
        primaryjoin="and_(Job.subject_id == Subject.id, Job.kind.in_(['preprocess', 'train']))",
        order_by="Job.id",
        viewonly=True,
        lazy="selectin",
    )


class Video(Base):
    """A rendered video of a subject. `file_key`, `sha256`, sizes and duration are set once it is ready.

    `mark` is the number that the watermark encodes. `credentials_key` names the manifest of the content credentials if the
    file format cannot embed one (WebM). A video without speech has an `idle_s`, the length that was requested in seconds, and
    an empty `audio_key`. `frame` (full or portrait) is what was rendered.

    A video with a `script` has an empty `audio_key` too: `voice` reads it at `speed`, the sound is `speech_key`, and `spoken` are
    its passages as [start, end, text], in seconds. `client_metadata` are the client's own texts. `warnings` are what could not be
    done of what was asked, each with `code` and `message`.
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
    title: Mapped[str | None] = mapped_column(String(200))
    client_metadata: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    script: Mapped[str | None]
    voice: Mapped[str | None] = mapped_column(String(100))
    speed: Mapped[float | None]
    spoken: Mapped[list[list[Any]] | None] = mapped_column(JSON(none_as_null=True))
    speech_key: Mapped[str | None]
    warnings: Mapped[list[dict[str, str]] | None] = mapped_column(JSON(none_as_null=True))
    captions_key: Mapped[str | None]
    thumbnail_key: Mapped[str | None]
    clip_key: Mapped[str | None]
    background_key: Mapped[str | None]
    file_key: Mapped[str | None]
    credentials_key: Mapped[str | None]
    mark: Mapped[int | None] = mapped_column(BigInteger, index=True, unique=True)
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    idle_s: Mapped[float | None]
    duration_s: Mapped[float | None]
    frame: Mapped[str | None] = mapped_column(String(16))
    frames: Mapped[int | None]
    width: Mapped[int | None]
    height: Mapped[int | None]
    view: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    job: Mapped[Job] = relationship(viewonly=True, lazy="selectin")


class Upload(Base):
    """A resumable upload, which can be used once; storage/tables/uploads.py writes it.

    `received` of its `size` bytes are stored, as parts. `used_by` is the id of the subject or video that was created from it.
    `sent_metadata` is the header Upload-Metadata as the client sent it.
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
    """An object that holds the bytes of an upload from offset `start` up to the next part."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    start: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    key: Mapped[str]


class Job(Base):
    """One piece of work for a worker. Only storage/tables/jobs.py writes its `state`.

    `attempt` is raised by every claim and never lowered, so that it fences writes of earlier claims; an attempt that must not
    count raises `max_attempts` as well. Every change of the row raises `revision`. `wake_at` is the time at which workers have
    to be notified (again) of a queued job; it is None unless the job is queued. The queue is claimed in the order of `priority`
    (0 normal, 1 low), `turn` and `queued_at`; storage/tables/jobs.py says how turns are given.
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

    `device` has `name`, `disk_free_bytes`, and for a GPU also `memory_bytes` and `used_bytes`.
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


class StoredResponse(Base):
    """The response to a request with an Idempotency-Key; storage/tables/idempotency.py writes it.

    `key` and `fingerprint` are digests of the client's key and of the request. `body` is None if the response held a
    secret; it is None and `headers` are empty if the response named a resource that was deleted since.
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
    """A URL to which events of an owner are sent; storage/tables/webhooks.py writes it.

    Its secret is not stored, but derived from the service's key, the id and `generation` (worker/webhooks/signing.py). Until
    `both_sign_until`, deliveries are signed with the previous secret too. Until `held_until`, nothing is sent.
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
    """One event for one webhook, with the request `body`; storage/tables/webhooks.py writes it.

    `next_at` is the time at which a pending delivery is due. While a worker sends it, `next_at` is the end of the lease.
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
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Certificate(Base):
    """A certificate that workers of this service sign videos with, or did before; storage/tables/certificates.py writes it.

    `chain` is public: PEM, the certificate first, then its issuers'.
    """

    __tablename__ = "certificates"

    serial: Mapped[str] = mapped_column(String(64), primary_key=True)
    chain: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


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


class Identity(Base):
    """The identity of this database, in one row; storage/store_identity.py writes it.

    The object store holds a copy. `generation` grows with every cleanup of the store, so that an older copy of the database is
    recognized by its lower number.
    """

    __tablename__ = "identity"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    id: Mapped[str] = mapped_column(String(40))
    generation: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)


class Deletion(Base):
    """A folder (`prefix` ends in a slash) or an object of the store that is to be deleted; storage/tables/deletions.py writes it."""

    __tablename__ = "deletions"

    prefix: Mapped[str] = mapped_column(String(120), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now, index=True)
