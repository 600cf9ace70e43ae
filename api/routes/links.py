"""The route of signed links to files."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.auth import CallerDep
from api.deps import ReadSession, SettingsDep
from api.openapi.responses import problems
from api.schemas import pictures
from api.services import signed_links

router = APIRouter(prefix="/v1/links", tags=["keys"])

FilePath = Annotated[
    str, Query(max_length=300, pattern=f"^{signed_links.FILE.pattern}$", examples=["/v1/videos/vid_1/file"])
]


@router.get("", summary="Sign a link to a file", responses=problems("shares_off", "validation_failed"))
def get_link(
    path: FilePath, caller: CallerDep, settings: SettingsDep, session: ReadSession, response: Response
) -> pictures.Link:
    """A link by which a player or a download reads one file without a key, for twelve hours, or until the caller's key is no longer valid.

    `path` is one of `links`, such as that of a video's file, or the export of a subject. Whether the file exists is told when it is read.
    """
    url, expires_at = signed_links.sign(session, settings, path, key_id=caller.key_id)
    response.headers["Cache-Control"] = "no-store"
    return pictures.Link(url=url, expires_at=expires_at)
