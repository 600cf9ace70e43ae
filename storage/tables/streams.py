"""Streams: videos that are watched while they are rendered, as segments in the object store, and the only writer of their columns.

Each attempt of a job has a folder of its own for its segments, and the row names the attempt that can be watched, and its folder. So
segments of a worker that was lost are never mixed with those of its successor. The folder's name has a random part: after a backup of the
database was restored, an attempt has the number of one that the store knows already. Segments are deleted some time after the video is
ready, and at once if it never will be.
"""

from __future__ import annotations

import re
import secrets
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


_NAME = re.compile(r"([0-9]+)(-[0-9a-f]+)?")
"""The name of an attempt's folder: its number, and what makes it unique, which versions before migration 0034 did not have."""


def new_name(attempt: int) -> str:
    """Returns a name for the folder of an attempt that no folder has had before."""
    return f"{attempt}-{secrets.token_hex(4)}"


def folder(video: Video, name: str) -> str:
    """Returns the prefix of the keys of the segments in the folder `name`."""
    return f"subjects/{video.subject_id}/videos/{video.id}/stream/{name}/"


def folder_shown(video: Video) -> str | None:
    """Returns the prefix of the keys of the segments that the row names; None if there are none."""
    return None if video.stream_attempt is None else folder(video, _name_shown(video.stream_attempt, video.stream_name))


def _name_shown(attempt: int, name: str | None) -> str:
    """Returns the name of the folder of a row's attempt. A worker of an earlier version sets the attempt alone, and leaves an older name."""
    return name if name is not None and name.startswith(f"{attempt}-") else str(attempt)


def segment(number: int) -> str:
    """Returns the name of a segment, which follows the folder in its key."""
    return f"{number}.m4s"


def publish(session: Session, store: ObjectStore, job: Job, name: str, frames: int) -> bool:
    """Shows the first `frames` frames of a running job's video to clients; the segments of an earlier attempt are deleted.

    Args:
        session: writes the row.
        store: has the segments.
        job: that runs.
        name: of the folder with its segments (new_name).
        frames: number of frames in the segments that are stored.

    Returns:
        False if the job no longer belongs to this attempt.
    """
    video = session.get(Video, job.video_id)
    before = None if video is None else folder_shown(video)
    shown = {"stream_attempt": job.attempt, "stream_name": name, "stream_frames": frames}
    if not jobs.publish(session, job.id, job.attempt, **shown):
        return False
    if before not in (None, folder(video, name)):
        deletions.request(session, store, before)
    return True


def attempt_shown(video: Video) -> int | None:
    """Returns the attempt whose segments can be watched now; None if there are none, if their worker was lost, or if some are missing."""
    whole = video.state == "ready" and video.stream_frames == video.frames
    is_current = video.stream_attempt == video.job.attempt
    return video.stream_attempt if is_current and (whole or video.state == "rendering") else None


def unneeded(session: Session, prefixes: Collection[str]) -> set[str]:
    """Returns those of the `folder` prefixes whose attempt has ended, unless the row of its video names it."""
    found = {prefix: (parts[3], _NAME.fullmatch(parts[5])) for prefix in prefixes if (parts := prefix.split("/"))}
    videos = {video_id for video_id, _ in found.values()}
    columns = Job.video_id, Job.attempt, Job.state, Video.stream_attempt, Video.stream_name
    query = select(*columns).join(Video, Job.video_id == Video.id).where(Video.id.in_(videos))
    rows = {row.video_id: row for row in session.execute(query)}
    ended = set()
    for prefix, (video_id, name) in found.items():
        row = rows.get(video_id)
        if row is None or name is None or name[0] == _name_shown(row.stream_attempt, row.stream_name):
            continue
        attempt = int(name[1])
        if attempt < row.attempt or (attempt == row.attempt and row.state != "running"):
            ended.add(prefix)
    return ended


def expire(session: Session, store: ObjectStore) -> None:
    """Deletes the segments of videos that were ready KEPT_S ago, or have failed or were cancelled."""
    kept = now() - timedelta(seconds=KEPT_S)
    over = or_(Job.state.in_(("failed", "cancelled")), and_(Job.state == "succeeded", Job.finished_at <= kept))
    query = select(Video).join(Job, Job.video_id == Video.id).where(Video.stream_attempt.is_not(None), over)
    for video in session.scalars(query).all():
        deletions.request(session, store, folder_shown(video))
        same = update(Video).where(Video.id == video.id, Video.stream_attempt == video.stream_attempt)
        queries.execute_update(session, same.values(stream_attempt=None, stream_name=None, stream_frames=None))
