"""Use cases of streams: videos that are watched while they are rendered."""

from __future__ import annotations

import re
from typing import NamedTuple

from sqlalchemy.orm import Session

from adnerf_core.files.fragments import frames_before
from api.services.subjects import viewable_subject
from storage.database import queries
from storage.database.models import Video
from storage.errors import NotFound
from storage.tables import streams


class Stream(NamedTuple):
    """What can be watched of a video: the first `frames` frames, as one attempt has rendered them; all of it once it has `ended`."""

    attempt: int
    frames: int
    ended: bool


def stream(session: Session, video_id: str, attempt: int | None, *, owner: str) -> Stream:
    """Returns what can be watched of a video.

    Args:
        video_id: of the video.
        attempt: the attempt that is wanted; None: the one that can be watched.
        owner: of the video.

    Raises NotFound (also if this attempt cannot be watched, not yet or not any more), ConsentWithdrawn.
    """
    return _shown(session, video_id, attempt, owner)[1]


def segment_key(session: Session, video_id: str, attempt: int, name: str, *, owner: str) -> str:
    """Returns the key of a segment, or of the header that all need.

    Raises NotFound (also if this attempt cannot be watched, or has no such segment yet), ConsentWithdrawn.
    """
    video, shown = _shown(session, video_id, attempt, owner)
    number = re.fullmatch(r"(0|[1-9][0-9]{0,5})\.m4s", name)
    if name != streams.HEADER and (number is None or frames_before(int(number[1])) >= shown.frames):
        raise NotFound(f"The stream of video {video_id} has no such segment, or has none yet.")
    return streams.folder_shown(video) + name


def _shown(session: Session, video_id: str, attempt: int | None, owner: str) -> tuple[Video, Stream]:
    video = queries.get(session, Video, video_id, owner=owner)
    viewable_subject(session, video.subject_id, owner=owner)
    shown = streams.attempt_shown(video)
    if shown is None or attempt not in (None, shown):
        raise NotFound(
            f"There is no such stream of video {video_id}, or not any more; links.stream names the current one."
        )
    return video, Stream(shown, video.stream_frames, video.state == "ready")
