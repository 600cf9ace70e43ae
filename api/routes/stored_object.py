"""Serves an object of the store as it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from fastapi import Request, Response

from api.deps import Turns
from api.responses.byte_ranges import file_response
from storage.objects.base import ObjectStore


async def object_response(
    request: Request, turns: Turns, store: ObjectStore, key: str, media_type: str, headers: Mapping[str, str]
) -> Response:
    """Serves an object. Its key is the ETag, because a newer version always has another key. Raises ObjectMissing."""
    size, file = await turns.open(lambda: (store.size(key), store.open(key)))
    tag = f'"{PurePath(key).name}"'
    return file_response(request, file, size, etag=tag, media_type=media_type, headers=headers, read=turns.open)
