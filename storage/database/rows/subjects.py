"""Subjects and videos."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, false, select, text
from sqlalchemy.orm import Mapped, column_property, mapped_column, relationship

from storage.database.base import Base, UtcTime
from storage.database.rows.common import now

SubjectState = Literal["pending", "preprocessing", "training", "ready", "failed", "cancelled"]
VideoState = Literal["pending", "rendering", "ready", "failed", "cancelled"]

TRASHED = text("trashed_until IS NOT NULL")
"""The rows of a small index, for the cleanup: the others are all in lists, which must not be read by it."""
DELETED = text("deleted_at IS NOT NULL")
"""The rows of another small index: every look at a video or job asks which subjects are being deleted."""

if TYPE_CHECKING:
    from storage.database.rows.jobs import Job


class Subject(Base):
    """A person, the model that is trained from the reference video, and the consent to show the person.

    The consent record consists of `consent` (its text), `consent_by`, `created_at`, `footage_sha256`, `consent_clip_sha256` (None: there
    is no clip), `withdrawn_at` and `purged_at`; see storage/tables/consents.py. `consent_clip_key` names the clip. `full_frame` is the size
    of its footage in videos (`width`, `height`, px); None until it is ready, and for a subject of an earlier version. Until
    `trashed_until` it is in the trash, with its videos; from `deleted_at` on it is being deleted, and queries.get finds it no more
    (storage/tables/removals.py). The client chose `audio_track`, a sound track of the footage, and `face`, one of its faces
    (config.FaceChoice), or left both to the service. With `may_improve_others`, which the owner changed last at `may_improve_others_at`
    (None: never), priors of lips are learnt from it; `lip_prior` names the one that its own training started from (None: the shipped one).
    `imported_from` is set for a subject from a bundle: its origin and the record of the consent there (api/services/bundles.py).
    """

    __tablename__ = "subjects"
    __table_args__ = (
        Index(None, "owner", "id"),
        Index(None, "owner", "state", "id"),
        Index(None, "owner", "stored_bytes"),  # The quota's sum, without reading the rows.
        Index(None, "trashed_until", sqlite_where=TRASHED, postgresql_where=TRASHED),
        Index(None, "deleted_at", sqlite_where=DELETED, postgresql_where=DELETED),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    name: Mapped[str]
    state: Mapped[SubjectState] = mapped_column(String(16))
    preset: Mapped[str] = mapped_column(String(16))
    audio_track: Mapped[int | None]
    consent: Mapped[str]
    consent_by: Mapped[str | None]
    may_improve_others: Mapped[bool] = mapped_column(default=False, server_default=false())
    may_improve_others_at: Mapped[datetime | None] = mapped_column(UtcTime)
    footage_sha256: Mapped[str | None] = mapped_column(String(64))
    withdrawn_at: Mapped[datetime | None] = mapped_column(UtcTime)
    purged_at: Mapped[datetime | None] = mapped_column(UtcTime)
    trashed_until: Mapped[datetime | None] = mapped_column(UtcTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    face: Mapped[dict[str, float] | None] = mapped_column(JSON(none_as_null=True))
    footage: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    quality: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    source_key: Mapped[str]
    consent_clip_key: Mapped[str | None]
    consent_clip_sha256: Mapped[str | None] = mapped_column(String(64))
    dataset_key: Mapped[str | None]
    checkpoint_key: Mapped[str | None]
    run_key: Mapped[str | None]
    preview_key: Mapped[str | None]
    report_key: Mapped[str | None]
    view_limits: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    lip_prior: Mapped[str | None] = mapped_column(String(40))
    full_frame: Mapped[dict[str, int] | None] = mapped_column(JSON(none_as_null=True))
    views: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    views_key: Mapped[str | None]
    thumbnail_key: Mapped[str | None]
    imported_from: Mapped[dict[str, str] | None] = mapped_column(JSON(none_as_null=True))
    stored_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    jobs: Mapped[list[Job]] = relationship(
        primaryjoin="and_(Job.subject_id == Subject.id, Job.kind.in_(['preprocess', 'train']))",
        order_by="(Job.kind, Job.id)",  # The oldest first, in the order of an index without those of its many videos.
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

    `stream_attempt` is the attempt of its job whose segments can be watched, `stream_name` the name of their folder, and `stream_frames`
    the number of frames in them; storage/tables/streams.py writes all three.

    `trashed_until` is set if the video was put into the trash itself, and `subject_trashed_until` if its subject is there.
    """

    __tablename__ = "videos"
    __table_args__ = (
        Index(None, "owner", "id"),
        Index(None, "owner", "state", "id"),
        Index(None, "subject_id", "id"),
        Index(None, "owner", "stored_bytes"),  # The quota's sum, without reading the rows.
        Index(None, "trashed_until", sqlite_where=TRASHED, postgresql_where=TRASHED),
        Index("ix_videos_trash", "owner", "id", sqlite_where=TRASHED, postgresql_where=TRASHED),  # Its list.
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    subject_id: Mapped[str] = mapped_column(ForeignKey("subjects.id", ondelete="CASCADE"))
    state: Mapped[VideoState] = mapped_column(String(16))
    options: Mapped[dict[str, Any]] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    updated_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
    trashed_until: Mapped[datetime | None] = mapped_column(UtcTime)
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
    stream_attempt: Mapped[int | None] = mapped_column(index=True)
    stream_name: Mapped[str | None] = mapped_column(String(40))
    stream_frames: Mapped[int | None]
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
    subject_trashed_until: Mapped[datetime | None] = column_property(
        select(Subject.trashed_until).where(Subject.id == subject_id).correlate_except(Subject).scalar_subquery()
    )


class Withdrawal(Base):
    """A withdrawal of consent whose videos and jobs are still being cancelled; storage/tables/withdrawals.py writes it.

    The videos of the subject up to the id `after` are done. With `purge`, their files and what names them are deleted as well.
    """

    __tablename__ = "withdrawals"

    subject_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(64))
    purge: Mapped[bool]
    after: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class WithdrawnConsent(Base):
    """The digest of a consent that was withdrawn (consents.digest), which stays when the subject is deleted. It says nothing of the person.

    storage/tables/withdrawals.py writes it.
    """

    __tablename__ = "withdrawn_consents"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime, default=now)
