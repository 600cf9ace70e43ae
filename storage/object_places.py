"""The places of objects in the store, and which of them no row needs any more.

A place is a kind of key that one column names. This version of the program judges only objects in places that its own models
name: an object elsewhere may be named by a column that a later version has added, and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from sqlalchemy import Column, select
from sqlalchemy.orm import Session

from storage.database.models import Base, Job, LipPrior, PreviewFrame, Subject, Upload, UploadPart, Verification, Video
from storage.tables import lip_priors, streams, uploads, verifications

SUBJECT_FOLDERS = {
    "datasets": "dataset_key",
    "checkpoints": "checkpoint_key",
    "runs": "run_key",
    "previews": "preview_key",
    "reports": "report_key",
    "views": "views_key",
    "thumbnails": "thumbnail_key",
}
"""Folders of a subject in which attempts store objects, and the column of Subject that names one of them."""
VIDEO_SUFFIXES = {
    ".mp4": "file_key",
    ".webm": "file_key",
    ".c2pa": "credentials_key",
    ".wav": "speech_key",
    ".srt": "captions_key",
    ".vtt": "captions_key",
    ".jpg": "thumbnail_key",
    ".clip": "clip_key",
}
"""Suffixes of the objects that attempts store in the folder of a video, and the column of Video that names one of them."""
BACKGROUNDS = "backgrounds"
"""The folder of a subject with the backgrounds of its preview frames; PreviewFrame.background_key names one."""
PREFIXES = ("subjects/", uploads.PREFIX, verifications.PREFIX, lip_priors.PREFIX)
"""Prefixes of all places."""

_ATTEMPT = re.compile(r"(job_[0-9a-f]+)-([0-9]+)[^/]*")
"""The last part of a key that the attempt of a job has written: the job's id, the attempt's number, and what makes it unique."""
_UPLOAD_PART = re.compile(rf"{uploads.PREFIX}([^/-]+)[/-][0-9]+-[0-9a-f]+")
_VERIFICATION = re.compile(rf"{verifications.PREFIX}ver_[^/]+")


def key_columns(model: type[Base]) -> list[Column[Any]]:
    """Returns the columns of a table that name objects."""
    return [column for column in model.__table__.columns if column.name.endswith("_key")]


def named_keys(session: Session) -> set[str]:
    """Returns all keys that rows name."""
    columns = UploadPart.key, Verification.file_key, PreviewFrame.background_key, LipPrior.object_key
    named: set[str | None] = {key for column in columns for key in session.scalars(select(column))}
    for model in (Subject, Video):
        for row_keys in session.execute(select(*key_columns(model))):
            named.update(row_keys)
    return {key for key in named if key}


def unneeded(session: Session, keys: Collection[str]) -> list[str]:
    """Returns those of the keys that no row needs.

    These are: all keys of a subject or video that does not exist; the keys of attempts that have ended, and of uploads,
    verifications, preview frames and priors of lips, that no row names. The rows must be those of the store (storage/store_identity.py).
    """
    unnamed = _of_uploads(session, keys), _of_verifications(session, keys), _of_lip_priors(session, keys)
    return [*_of_subjects(session, keys), *chain.from_iterable(unnamed)]


def _of_subjects(session: Session, keys: Iterable[str]) -> Iterator[str]:
    paths = [path for path in map(PurePosixPath, keys) if path.parts[0] == "subjects" and len(path.parts) > 2]
    in_videos = [path for path in paths if path.parts[2] == "videos" and len(path.parts) > 4]
    subjects, named = _rows(session, Subject, {path.parts[1] for path in paths})
    videos, named_by_videos = _rows(session, Video, {path.parts[3] for path in in_videos})
    pictures = {path for path in paths if path.parts[2] == BACKGROUNDS}
    in_frames = PreviewFrame.background_key.in_([str(path) for path in pictures])
    named |= named_by_videos | set(session.scalars(select(PreviewFrame.background_key).where(in_frames)))
    ended = _of_ended_attempts(session, paths)
    ended_streams = streams.unneeded(session, {f"{path.parent}/" for path in in_videos if _is_segment(path)})
    for path in paths:
        owner_is_gone = path.parts[1] not in subjects or (path in in_videos and path.parts[3] not in videos)
        may_end = path in pictures or (_is_place_of_attempts(path) and path in ended)
        is_of_ended = may_end and str(path) not in named
        if owner_is_gone or is_of_ended or f"{path.parent}/" in ended_streams:
            yield str(path)


def _of_uploads(session: Session, keys: Iterable[str]) -> Iterator[str]:
    parts = {key: match[1] for key in keys if (match := _UPLOAD_PART.fullmatch(key))}
    query = select(UploadPart.key).join(Upload, Upload.id == UploadPart.upload_id)
    named = set(session.scalars(query.where(Upload.id.in_(set(parts.values())))))
    yield from (key for key in parts if key not in named)


def _of_verifications(session: Session, keys: Iterable[str]) -> Iterator[str]:
    files = [key for key in keys if _VERIFICATION.fullmatch(key)]
    named = set(session.scalars(select(Verification.file_key).where(Verification.file_key.in_(files))))
    yield from (key for key in files if key not in named)


def _of_lip_priors(session: Session, keys: Iterable[str]) -> Iterator[str]:
    files = [key for key in keys if key.startswith(lip_priors.PREFIX)]
    named = set(session.scalars(select(LipPrior.object_key).where(LipPrior.object_key.in_(files))))
    yield from (key for key in files if key not in named)


def _rows(session: Session, model: type[Subject] | type[Video], ids: Collection[str]) -> tuple[set[str], set[str]]:
    """Returns which of the rows exist, and all keys that they name."""
    existing, named = set(), set()
    for row_id, *row_keys in session.execute(select(model.id, *key_columns(model)).where(model.id.in_(ids))):
        existing.add(row_id)
        named.update(row_keys)
    return existing, named


def _is_segment(path: PurePosixPath) -> bool:
    """Whether `path` lies in a folder of storage/tables/streams.py."""
    return len(path.parts) == 7 and path.parts[4] == "stream"


def _is_place_of_attempts(path: PurePosixPath) -> bool:
    """Whether attempts store objects in the place of `path`, and a column of this version names them."""
    match path.parts:
        case ("subjects", _, folder, _):
            return SUBJECT_FOLDERS.get(folder) in {column.name for column in key_columns(Subject)}
        case ("subjects", _, "videos", _, name):
            return VIDEO_SUFFIXES.get(PurePosixPath(name).suffix) in {column.name for column in key_columns(Video)}
    return False


def _of_ended_attempts(session: Session, paths: Iterable[PurePosixPath]) -> set[PurePosixPath]:
    """Those of the paths that were written by attempts that have ended."""
    attempts = {path: (match[1], int(match[2])) for path in paths if (match := _ATTEMPT.fullmatch(path.name))}
    query = select(Job.id, Job.state, Job.attempt).where(Job.id.in_({job_id for job_id, _ in attempts.values()}))
    newest = {row.id: (row.attempt, row.state == "running") for row in session.execute(query)}
    ended = set()
    for path, (job_id, attempt) in attempts.items():
        newest_attempt, running = newest.get(job_id, (-1, False))  # of an unknown job, no attempt counts as ended
        if attempt < newest_attempt or (attempt == newest_attempt and not running):
            ended.add(path)
    return ended
