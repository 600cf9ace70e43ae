"""Serves objects of the store as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from api.deps import Turns
from api.responses.byte_ranges import file_response, not_modified
from storage.database.models import Video
from storage.objects.base import ObjectStore

MEDIA_TYPES = {"mp4": "video/mp4", "webm": "video/webm"}
"""Media types of videos by their format."""


async def object_response(
    request: Request, turns: Turns, store: ObjectStore, key: str, media_type: str, headers: Mapping[str, str]
) -> Response:
    """Serves an object. The ETag is made from its whole key, because another version, and another subject's, has another key.

    Raises:
        ObjectMissing: the store does not have it.
    """
    size, file = await turns.open(lambda: (store.size(key), store.open(key)))
    # Half of a digest: clients take a whole one for the digest of the content.
    tag = f'"{hashlib.sha256(key.encode()).hexdigest()[:32]}"'
    return file_response(request, file, size, etag=tag, media_type=media_type, headers=headers, read=turns.open)


async def video_response(
    request: Request, turns: Turns, store: ObjectStore, video: Video, *, name: str, disposition: str
) -> Response:
    """Serves the file of a video that is ready, or redirects to a signed link if the store has them. Raises ObjectMissing.

    Args:
        request: GET or HEAD.
        turns: in which the file is opened and read.
        store: that has the file.
        video: a row with `file_key`, `sha256` and `size_bytes`.
        name: file name for a download from the store.
        disposition: the header Content-Disposition of what this service sends itself.
    """
    etag, media_type = f'"{video.sha256}"', MEDIA_TYPES[video.options["format"]]
    if request.method == "GET" and not not_modified(request, etag):
        link = store.link(video.file_key, name=name, media_type=media_type)
        if link is not None:
            return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
    return file_response(
        request,
        await turns.open(lambda: store.open(video.file_key)),
        video.size_bytes,
        etag=etag,
        media_type=media_type,
        headers={"Content-Disposition": disposition, "Cache-Control": "private, no-cache"},
        read=turns.open,
    )
