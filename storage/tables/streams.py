"""Streams: videos that are watched while they are rendered, as segments in the object store, and the only writer of their columns.

Each attempt of a job has a folder of its own for its segments, and the row names the attempt that can be watched. So segments of a
worker that was lost are never mixed with those of its successor. They are deleted some time after the video is ready, and at once if it
never will be.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Job, Video, now
from storage.objects.base import ObjectStore
from storage.tables import deletions, jobs

KEPT_S = 600.0
"""Time for which segments are kept after the video is ready, s: who watches it then reaches the end, or changes to the file."""
HEADER = "init.mp4"
"""Name of the object that all segments of an attempt need."""


def folder(video: Video, attempt: int) -> str:
    """Returns the prefix of the keys of an attempt's segments."""
    return f"subjects/{video.subject_id}/videos/{video.id}/stream/{attempt}/"


def segment(number: int) -> str:
    """Returns the name of a segment, which follows the folder in its key."""
    return f"{number}.m4s"


def publish(session: Session, store: ObjectStore, job: Job, frames: int) -> bool:
    """Shows the first `frames` frames of a running job's video to clients; the segments of an earlier attempt are deleted.

    Returns:
        False if the job no longer belongs to this attempt.
    """
    video = session.get(Video, job.video_id)
    before = None if video is None else video.stream_attempt
    if not jobs.publish(session, job.id, job.attempt, stream_attempt=job.attempt, stream_frames=frames):
        return False
    if before not in (None, job.attempt):
        deletions.request(session, store, folder(video, before))
    return True


def attempt_shown(video: Video) -> int | None:
    """Returns the attempt whose segments can be watched now; None if there are none, if their worker was lost, or if some are missing."""
    whole = video.state == "ready" and video.stream_frames == video.frames
    is_current = video.stream_attempt == video.job.attempt
    return video.stream_attempt if is_current and (whole or video.state == "rendering") else None


def unneeded(session: Session, prefixes: Collection[str]) -> set[str]:
    """Returns those of the `folder` prefixes whose attempt has ended, unless the row of its video names it."""
    attempts = {prefix: (parts[3], int(parts[5])) for prefix in prefixes if (parts := prefix.split("/"))[5].isdecimal()}
    query = select(Job.video_id, Job.attempt, Job.state, Video.stream_attempt).join(Video, Job.video_id == Video.id)
    rows = {
        row.video_id: row for row in session.execute(query.where(Video.id.in_({each for each, _ in attempts.values()})))
    }
    ended = set()
    for prefix, (video_id, attempt) in attempts.items():
        row = rows.get(video_id)
        if row is None or attempt == row.stream_attempt:
            continue
        if attempt < row.attempt or (attempt == row.attempt and row.state != "running"):
            ended.add(prefix)
    return ended


def expire(session: Session, store: ObjectStore) -> None:
    """Deletes the segments of videos that were ready KEPT_S ago, or have failed or were cancelled."""
    kept = now() - timedelta(seconds=KEPT_S)
    over = or_(Job.state.in_(("failed", "cancelled")), and_(Job.state == "succeeded", Job.finished_at <= kept))
    query = select(Video).join(Job, Job.video_id == Video.id).where(Video.stream_attempt.is_not(None), over)
    for video in session.scalars(query).all():
        deletions.request(session, store, folder(video, video.stream_attempt))
        same = update(Video).where(Video.id == video.id, Video.stream_attempt == video.stream_attempt)
        queries.execute_update(session, same.values(stream_attempt=None, stream_frames=None))
