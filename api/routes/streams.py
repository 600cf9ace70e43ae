"""Routes of streams: videos that are watched while they are rendered."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field

from api.auth import CallerDep, grant
from api.deps import ReadSession, StoreDep, TurnsDep
from api.openapi import responses
from api.openapi.responses import problems
from api.responses import playlist
from api.routes.stored_object import object_response
from api.schemas.numbers import PLAIN
from api.services import streams

router = APIRouter(prefix="/v1/videos", tags=["videos"])

Number = Annotated[int, Field(ge=1, le=1_000_000), PLAIN]
"""The number of an attempt."""
SEGMENT_TYPE = "video/mp4"
HEADERS = {"Cache-Control": "private, no-cache"}


@router.get(
    "/{video_id}/stream.m3u8",
    summary="Watch a video while it is rendered",
    response_class=Response,
    responses={
        200: responses.file("the playlist", playlist.MEDIA_TYPE),
        **problems("validation_failed", "not_found", "consent_withdrawn"),
    },
)
def get_stream(
    video_id: str,
    caller: CallerDep,
    session: ReadSession,
    attempt: Annotated[Number | None, Query(description="attempt of the job; without it, the current one")] = None,
    access: Annotated[str | None, Query(max_length=200, include_in_schema=False)] = None,
) -> Response:
    """The playlist of an HLS player. It grows while the video is rendered, and ends with the video; follow `links.stream`.

    If a worker is lost, its playlist is not found any more, and the next attempt has another one.
    """
    stream = streams.stream(session, video_id, attempt, owner=caller.owner)
    return Response(playlist.playlist(stream, access), media_type=playlist.MEDIA_TYPE, headers=HEADERS)


@router.head("/{video_id}/stream/{attempt}/{segment}", include_in_schema=False)
@router.get(
    "/{video_id}/stream/{attempt}/{segment}",
    summary="Read a segment of a stream",
    response_class=Response,
    responses={
        200: responses.file("the whole segment", SEGMENT_TYPE),
        206: responses.file("the requested range", SEGMENT_TYPE),
        304: {"description": "not changed"},
        307: {"description": "the segment is at the address in Location"},
        **problems("validation_failed", "not_found", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
async def get_segment(
    video_id: str,
    attempt: Annotated[Number, Path(description="attempt of the job")],
    segment: Annotated[str, Path(max_length=40, description="init.mp4, 0.m4s, 1.m4s and so on, as the playlist says")],
    request: Request,
    caller: CallerDep,
    turns: TurnsDep,
    store: StoreDep,
) -> Response:
    """A piece of fragmented MP4. If the object store can sign links, the answer is a redirect, as for the file of a video."""
    key = await turns.read(
        grant(request, lambda session: streams.segment_key(session, video_id, attempt, segment, owner=caller.owner))
    )
    if request.method == "GET":
        link = store.link(key, name=segment, media_type=SEGMENT_TYPE)
        if link is not None:
            return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
    return await object_response(request, turns, store, key, SEGMENT_TYPE, HEADERS)
