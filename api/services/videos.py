"""Use cases of videos."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from adnerf_core.config import MARK_BITS, MAX_PORTRAIT_PX, RenderOptions
from api.services.subjects import ready_subject, removed_on_error, viewable_subject
from storage.database import queries
from storage.database.engine import after_rollback
from storage.database.models import JobPriority, Subject, Video, first_id, new_id, now
from storage.errors import FullFrameUnavailable, NotFound, VideoNotReady
from storage.objects.base import ObjectStore, Stored
from storage.settings import Settings
from storage.tables import jobs, quotas, removals, uploads, voices
from storage.tables.uploads import FileSource

ID_AHEAD_S = 3600.0
"""How much the time in the id of a video may differ from that of its row, s: its files are stored in between, which takes minutes at most.
Ids are indexed and begin with a time, so a list of a period reads only those that can be of this period."""


@dataclass(frozen=True)
class StoredSpeech:
    """The files of a video in the object store, for the video that will have this id. Without speech there is no audio."""

    video_id: str
    source: FileSource | None
    audio: Stored | None
    background: Stored | None


class Script(NamedTuple):
    """A text, the id of the voice that reads it, and its speed (1: the voice's own)."""

    text: str
    voice: str
    speed: float


def voice_of(session: Session, voice_id: str | None) -> str:
    """Returns the id of the voice that reads a script: the default's if none is named. Raises VoiceUnavailable."""
    return voices.choose(session, voice_id).id


def conditions(
    *, ids: Sequence[str] | None, title: str | None, after: datetime | None, before: datetime | None
) -> list[ColumnElement[bool]]:
    """Returns the conditions of a list of videos: their ids, a part of their title, and the time of their creation."""
    where = [] if ids is None else [Video.id.in_(ids)]
    if title is not None:
        where.append(Video.title.icontains(title, autoescape=True))
    if after is not None:
        where += [Video.created_at >= after, Video.id >= first_id("vid", after, later_s=-ID_AHEAD_S)]
    if before is not None:
        where += [Video.created_at < before, Video.id < first_id("vid", before, later_s=ID_AHEAD_S)]
    return where


def speaking_subject(
    session: Session, subject_id: str, options: RenderOptions, *, owner: str, lock: bool = False
) -> Subject:
    """Returns a subject of which a video with these options can be made; with `lock`, it is locked until the transaction ends.

    Raises NotFound, ConsentWithdrawn, InTrash, SubjectNotReady, FullFrameUnavailable.
    """
    subject = ready_subject(session, subject_id, owner=owner, lock=lock)
    if subject.full_frame is None:
        if options.frame == "full":
            raise FullFrameUnavailable(f"Subject {subject_id} has no full frame.")
        if options.size is not None and options.size > MAX_PORTRAIT_PX:
            raise FullFrameUnavailable(
                f"Subject {subject_id} has no full frame, and a portrait has at most {MAX_PORTRAIT_PX} px."
            )
    return subject


def store_speech(
    store: ObjectStore, subject_id: str, audio: FileSource | None, background: FileSource | None = None
) -> StoredSpeech:
    """Stores the files of a video. If no video is made of them, the cleanup of unused objects removes them.

    Args:
        store: where to.
        subject_id: of a subject that `speaking_subject` has found: the files are stored below its id.
        audio: the speech; None for a video without speech.
        background: the picture for background kind `image`.

    Raises StoreFull, EmptyFile; if `audio` is an upload: ObjectMissing, ObjectDamaged.
    """
    video_id = new_id("vid")
    place = folder(subject_id, video_id)
    with removed_on_error(store, place):
        stored = uploads.put_file(store, place + "audio", audio) if audio is not None else None
        picture = uploads.put_file(store, place + "background", background) if background is not None else None
    return StoredSpeech(video_id, audio, stored, picture)


def folder(subject_id: str, video_id: str) -> str:
    """Returns the prefix of all objects of a video."""
    return f"subjects/{subject_id}/videos/{video_id}/"


def submit_video(
    session: Session,
    store: ObjectStore,
    settings: Settings,
    *,
    owner: str,
    subject_id: str,
    options: RenderOptions,
    audio: FileSource | StoredSpeech | None,
    background: FileSource | None = None,
    idle_s: float | None = None,
    script: Script | None = None,
    title: str | None = None,
    metadata: Mapping[str, str] | None = None,
    priority: JobPriority = "normal",
) -> Video:
    """Creates a video of a ready subject, and the job that renders it. Call it in a new session.

    Args:
        subject_id: The files are stored below this id before it is checked here, so the caller must have found it by
            `speaking_subject` already.
        audio: The speech, or all files of the video, stored already.
        background: The picture for background kind `image`.
        idle_s: The length of a video without speech, seconds; there is no audio then.
        script: What a voice reads, in place of the audio.
        title: For people.
        metadata: The client's own texts, by name.
        priority: Of the job.

    Raises NotFound, ConsentWithdrawn, InTrash, SubjectNotReady, FullFrameUnavailable, StoreFull, QuotaExceeded; if `audio` is an upload
    also UploadIncomplete, UploadUsed.
    """
    speech = audio if isinstance(audio, StoredSpeech) else store_speech(store, subject_id, audio, background)
    video_id = speech.video_id
    after_rollback(session, lambda: store.delete_prefix(folder(subject_id, video_id)), remote=True)
    speaking_subject(session, subject_id, options, owner=owner, lock=True)
    video = Video(
        id=video_id,
        owner=owner,
        subject_id=subject_id,
        state="pending",
        options=_stored(options),
        audio_key=speech.audio.key if speech.audio is not None else "",
        idle_s=idle_s,
        script=script and script.text,
        voice=script and script.voice,
        speed=script and script.speed,
        title=title,
        client_metadata=metadata and dict(metadata),
        background_key=speech.background.key if speech.background is not None else None,
        stored_bytes=_sent_bytes(speech, script, title, metadata),
        mark=secrets.randbits(MARK_BITS),
    )
    session.add(video)
    session.flush()
    if speech.source is not None:
        uploads.consume(session, store, speech.source, owner=owner, used_by=video_id)
    jobs.create(session, "render", owner=owner, subject_id=subject_id, video_id=video_id, priority=priority)
    quotas.check(session, settings, owner, "videos", "queued_jobs", "stored_bytes", daily_seconds=idle_s or 0.0)
    return video


def _stored(options: RenderOptions) -> dict[str, Any]:
    """Returns options as they are stored: only those with other values than the defaults, and the format.

    So, during an upgrade, processes of the previous version can read videos that ask for nothing new. What they do not know they
    refuse: a video without it would not be the one that was requested.
    """
    return options.model_dump(mode="json", exclude_defaults=True) | {"format": options.format}


def _sent_bytes(
    speech: StoredSpeech, script: Script | None, title: str | None, metadata: Mapping[str, str] | None
) -> int:
    """Returns the bytes of the files and texts with which a video is created, which count in its owner's quota."""
    texts = [script.text if script else "", title or "", *(metadata or {}).values()]
    files = [each.size for each in (speech.audio, speech.background) if each is not None]
    return sum(files) + len("".join(texts).encode())


def change_video(session: Session, video_id: str, *, owner: str, **values: Any) -> Video:
    """Changes `title` and `metadata` of a video, of which `values` holds those that change. Raises NotFound."""
    video = queries.get(session, Video, video_id, owner=owner)
    if "title" in values:
        video.title = values["title"]
    if "metadata" in values:
        video.client_metadata = values["metadata"]
    video.updated_at = now()
    session.flush()
    return queries.get(session, Video, video_id, owner=owner)


def delete_video(session: Session, store: ObjectStore, video_id: str, *, owner: str) -> None:
    """Deletes the video, its job (a worker that runs it stops) and its files. Raises NotFound."""
    removals.delete_video(session, store, queries.get(session, Video, video_id, owner=owner))


def trash_video(session: Session, settings: Settings, video_id: str, *, owner: str) -> Video:
    """Moves the video to the trash, and cancels its job. Raises NotFound."""
    removals.trash(session, queries.get(session, Video, video_id, owner=owner), keep_s=settings.undo_s)
    return queries.get(session, Video, video_id, owner=owner)


def restore_video(session: Session, video_id: str, *, owner: str) -> Video:
    """Takes the video out of the trash. Raises NotFound, InTrash (its subject is there too)."""
    removals.restore(session, queries.get(session, Video, video_id, owner=owner))
    return queries.get(session, Video, video_id, owner=owner)


def video_file(session: Session, video_id: str, *, owner: str) -> Video:
    """Returns a finished video, which has `file_key`, `sha256` and `size_bytes`.

    Raises NotFound, ConsentWithdrawn, VideoNotReady.
    """
    video = queries.get(session, Video, video_id, owner=owner)
    viewable_subject(session, video.subject_id, owner=owner)
    if video.state != "ready":
        raise VideoNotReady(f"Video {video_id} is {video.state}.")
    return video


def video_part(session: Session, video_id: str, column: str, *, owner: str) -> str:
    """Returns the key of a file that belongs to a video.

    Args:
        video_id: of the video.
        column: `speech_key`, `captions_key`, `thumbnail_key` or `clip_key`.
        owner: of the video.

    Raises NotFound (also if there is no such file), ConsentWithdrawn.
    """
    video = queries.get(session, Video, video_id, owner=owner)
    viewable_subject(session, video.subject_id, owner=owner)
    key = getattr(video, column)
    if key is None:
        raise NotFound(f"Video {video_id} has no such file, or has none yet.")
    return key
