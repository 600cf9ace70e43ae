"""Routes of links by which everybody can watch a video; watch.py serves what they lead to."""

from __future__ import annotations

from fastapi import APIRouter, Response

from api.auth import Caller, CallerDep
from api.deps import Cursor, Limit, ReadSession, SettingsDep, WriteSession
from api.openapi.responses import JSON_CODES, problems
from api.requests.idempotency import SECRET, IdempotencyDep
from api.requests.json_body import JsonBody
from api.schemas import base, pictures
from api.services import shares
from storage.database import models, queries
from storage.settings import Settings
from storage.tables import shares as table

router = APIRouter(prefix="/v1/videos/{video_id}/shares", tags=["videos"])


@router.post(
    "",
    status_code=201,
    response_model=pictures.Share,
    summary="Make a link to a video",
    responses=problems(
        "not_found", "video_not_ready", "consent_withdrawn", "in_trash", "shares_off", "too_many_shares", *JSON_CODES
    ),
)
def create_share(
    video_id: str,
    form: JsonBody[pictures.ShareForm],
    caller: CallerDep,
    idempotency: IdempotencyDep,
    settings: SettingsDep,
    session: WriteSession,
) -> Response:
    """A link by which everybody can watch this video without a key, and embed it, until the link expires or is deleted."""
    row = shares.share_video(session, settings, video_id, owner=caller.owner, for_s=form.expires_in_s)
    return idempotency.respond(session, _share(row, caller, settings), headers=SECRET)


@router.get("", summary="List the links to a video", responses=problems("not_found", "shares_off", "validation_failed"))
def list_shares(
    video_id: str,
    caller: CallerDep,
    settings: SettingsDep,
    session: ReadSession,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> base.Page[pictures.Share]:
    """A page of the links that are valid, newest first."""
    queries.get(session, models.Video, video_id, owner=caller.owner)
    valid = models.Share.expires_at > queries.server_now(session)
    page = queries.page(session, models.Share, valid, owner=caller.owner, video_id=video_id, limit=limit, cursor=cursor)
    items = [_share(row, caller, settings) for row in page.items]
    return base.Page(items=items, next_cursor=page.next_cursor)


@router.delete("/{share_id}", status_code=204, summary="Close a link to a video", responses=problems("not_found"))
def delete_share(video_id: str, share_id: str, caller: CallerDep, session: WriteSession) -> None:
    """Closes the link at once. Whoever watches already can go on for as long as their player has a part of the file."""
    shares.revoke(session, video_id, share_id, owner=caller.owner)


def _share(row: models.Share, caller: Caller, settings: Settings) -> pictures.Share:
    return pictures.Share(
        id=row.id,
        video_id=row.video_id,
        url=f"/s/{table.token(shares.signing_key(settings), row)}",
        only_here=caller.key_id is None,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
