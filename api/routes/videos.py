"""Routes of videos that are there; new_videos.py makes them."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep, grant
from api.deps import Cursor, Limit, ReadSession, SearchTurn, StoreDep, Trash, TurnsDep, WriteSession
from api.openapi import responses
from api.openapi.responses import JSON_CODES, problems
from api.requests.if_match import IfMatchDep
from api.requests.json_body import JsonBody
from api.responses import serializers
from api.routes.stored_object import MEDIA_TYPES, object_response, video_response
from api.schemas import base, resources
from api.schemas.one_line import CONTROLS
from api.schemas.video_requests import VideoPatch
from api.services import videos
from storage.database import queries
from storage.database.models import Video, VideoState
from storage.tables import removals

router = APIRouter(prefix="/v1/videos", tags=["videos"])

PART_TYPES = {
    ".wav": "audio/wav",
    ".srt": "application/x-subrip; charset=utf-8",
    ".vtt": "text/vtt; charset=utf-8",
    ".jpg": "image/jpeg",
    ".clip": "video/mp4",
}
"""Media types of the files that belong to videos, by the suffix of their keys."""
IDS = "^vid_[0-9a-f]{1,40}(,vid_[0-9a-f]{1,40}){0,99}$"
"""Up to a hundred ids, as many as a page can have."""
TITLE = f"^[^{CONTROLS}]{{1,200}}$"


@router.get("", summary="List videos, newest first", responses=problems("validation_failed"))
def list_videos(
    caller: CallerDep,
    search: SearchTurn,
    session: ReadSession,
    state: VideoState | None = None,
    subject_id: str | None = None,
    ids: Annotated[
        str | None, Query(pattern=IDS, description="ids, separated by commas; unknown ones are left out")
    ] = None,
    title: Annotated[str | None, Query(pattern=TITLE, description="a part of the title, in any case")] = None,
    created_after: Annotated[base.AnyTime | None, Query(description="created at this time or later")] = None,
    created_before: Annotated[base.AnyTime | None, Query(description="created before this time")] = None,
    trash: Trash = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> base.Page[resources.Video]:
    """A page of videos."""
    where = videos.conditions(
        ids=None if ids is None else ids.split(","), title=title, after=created_after, before=created_before
    )
    where.append(removals.in_trash(Video, trash, owner=caller.owner))
    page = queries.page(
        session, Video, *where, owner=caller.owner, state=state, subject_id=subject_id, limit=limit, cursor=cursor
    )
    return serializers.videos(session, page)


@router.get("/{video_id}", summary="Read a video", responses=problems("not_found"))
def get_video(video_id: str, caller: CallerDep, response: Response, session: ReadSession) -> resources.Video:
    """The video with its job. Poll it with If-None-Match, waiting Retry-After seconds each time."""
    video = serializers.video(session, queries.get(session, Video, video_id, owner=caller.owner))
    response.headers.update(serializers.retry_after([video.job]))
    return video


@router.patch(
    "/{video_id}",
    summary="Change the title or the metadata of a video",
    responses=problems("precondition_failed", "not_found", *JSON_CODES),
)
def patch_video(
    video_id: str,
    patch: JsonBody[VideoPatch],
    caller: CallerDep,
    session: WriteSession,
    if_match: IfMatchDep,
) -> resources.Video:
    """The changed video."""
    if_match.check(lambda: _locked(session, video_id, caller.owner))
    values = patch.model_dump(exclude_unset=True)
    return serializers.video(session, videos.change_video(session, video_id, owner=caller.owner, **values))


@router.delete(
    "/{video_id}", status_code=204, summary="Delete a video", responses=problems("precondition_failed", "not_found")
)
def delete_video(
    video_id: str, caller: CallerDep, session: WriteSession, store: StoreDep, if_match: IfMatchDep
) -> None:
    """Deletes the video and its files. Running work on it stops within seconds."""
    if_match.check(lambda: _locked(session, video_id, caller.owner))
    videos.delete_video(session, store, video_id, owner=caller.owner)


@router.head("/{video_id}/file", include_in_schema=False)
@router.get(
    "/{video_id}/file",
    summary="Download a video",
    response_class=Response,
    responses={
        200: responses.file("the whole file", *MEDIA_TYPES.values()),
        206: responses.file("the requested range", *MEDIA_TYPES.values()),
        304: {"description": "not changed"},
        307: {"description": "the file is at the address in Location"},
        **problems(
            "validation_failed",
            "not_found",
            "video_not_ready",
            "consent_withdrawn",
            "object_missing",
            "range_not_satisfiable",
        ),
    },
)
async def get_file(
    video_id: str,
    request: Request,
    caller: CallerDep,
    turns: TurnsDep,
    store: StoreDep,
    name: Annotated[str | None, Query(max_length=200, description="file name for the download")] = None,
) -> Response:
    """The MP4 or WebM. Supports `Range` (one range), `If-Range` and `If-None-Match`; the `ETag` is the file's SHA-256.

    If the object store can sign links, the answer is a redirect to a link that is valid for a limited time.
    """
    find = grant(request, lambda session: videos.video_file(session, video_id, owner=caller.owner))
    video = await turns.read(find)
    plain = f"{video_id}.{video.options['format']}"
    disposition = f'attachment; filename="{plain}"' + (f"; filename*=UTF-8''{quote(name, safe='')}" if name else "")
    return await video_response(request, turns, store, video, name=name or plain, disposition=disposition)


def _locked(session: Session, video_id: str, owner: str) -> resources.Video:
    return serializers.video(session, queries.get(session, Video, video_id, owner=owner, for_change=True))


def _add_part(path: str, column: str, summary: str, text: str, *media_types: str) -> None:
    """Adds the routes GET and HEAD of a file that belongs to a video; its suffix gives the media type."""

    async def get_part(
        video_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep
    ) -> Response:
        find = grant(request, lambda session: videos.video_part(session, video_id, column, owner=caller.owner))
        key = await turns.read(find)
        media_type = PART_TYPES[PurePath(key).suffix]
        return await object_response(request, turns, store, key, media_type, {"Cache-Control": "private, no-cache"})

    router.head(f"/{{video_id}}/{path}", include_in_schema=False)(get_part)
    router.get(
        f"/{{video_id}}/{path}",
        summary=summary,
        description=text,
        operation_id=f"get_video_{column}",
        response_class=Response,
        responses={
            200: responses.file("the whole file", *media_types),
            206: responses.file("the requested range", *media_types),
            304: {"description": "not changed"},
            **problems("not_found", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
        },
    )(get_part)


_add_part(
    "audio", "speech_key", "Hear the speech of a script", "A WAV, as soon as the script has been read.", "audio/wav"
)
_add_part(
    "captions",
    "captions_key",
    "Read the captions of a video",
    "SubRip or WebVTT, as options.captions.file says.",
    "application/x-subrip",
    "text/vtt",
)
_add_part("thumbnail", "thumbnail_key", "See a frame of a video", "A small JPEG.", "image/jpeg")
_add_part("preview-clip", "clip_key", "See the beginning of a video", "A short, small MP4 without sound.", "video/mp4")
