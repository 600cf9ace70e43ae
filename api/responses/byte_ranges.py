"""Conditional requests and byte ranges (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, BinaryIO

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.auth import AccessCheck
from api.problems.problems import Problem

CHUNK_BYTES = 256 << 10
"""Bytes read and sent at a time: large enough that a thread switch per chunk does not limit the rate, small in memory."""

Read = Callable[[Callable[[], bytes]], Awaitable[bytes]]


def not_modified(request: Request, etag: str) -> bool:
    """Returns True if If-None-Match contains `etag` (quoted): the client has this version, and 304 is the response."""
    tags = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in tags or etag.removeprefix("W/") in tags


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Parses a Range header. A header that is malformed, has another unit or names several ranges is ignored, as RFC 9110 allows.

    Args:
        header: value of the Range header; may be empty.
        size: of the file, bytes.

    Returns:
        (first byte, first byte after the range); None if the whole file is to be sent.

    Raises:
        Problem: `range_not_satisfiable`.
    """
    match = re.fullmatch(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", header, re.IGNORECASE | re.ASCII)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size:
        message = f"The file has {size} bytes."
        raise Problem("range_not_satisfiable", message, headers={"Content-Range": f"bytes */{size}"})
    return start, stop


def file_response(
    request: Request,
    file: BinaryIO,
    size: int,
    *,
    etag: str,
    media_type: str,
    headers: Mapping[str, str],
    read: Read,
) -> Response:
    """Responds to GET or HEAD with a file: 200, 206, 304, or Problem 416.

    Args:
        file: seekable; it is closed when the response ends.
        size: of the file, bytes.
        etag: quoted and strong: equal tags mean equal bytes, so that an interrupted download can be resumed.
        headers: further headers of the response.
        read: awaited with each piece of work that reads from `file`; runs it in a thread.
    """
    headers = {**headers, "Accept-Ranges": "bytes", "ETag": etag}
    if not_modified(request, etag):
        file.close()
        return Response(status_code=304, headers=headers)
    part = None
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        try:
            part = byte_range(request.headers.get("range", ""), size)
        except Problem:
            file.close()
            raise
    start, stop = part or (0, size)
    headers["Content-Length"] = str(stop - start)
    if part:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 206 if part else 200
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return _FileStream(AccessCheck(request), file, _read(file, start, stop, read), status, headers, media_type)


class _FileStream(StreamingResponse):
    """A response that closes `file` at its end, also if the client disconnects, and breaks off when it is not allowed any more."""

    def __init__(self, access: AccessCheck, file: BinaryIO, *response: Any):
        super().__init__(*response)
        self._access, self._file = access, file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._access.beside():
                await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _read(file: BinaryIO, start: int, stop: int, read: Read) -> AsyncIterator[bytes]:
    """Yields the bytes. Raises OSError, so that the connection breaks, if the file has become shorter."""
    file.seek(start)
    while start < stop:
        chunk = await read(partial(file.read, min(CHUNK_BYTES, stop - start)))
        if not chunk:
            raise OSError("the file is shorter than it was")
        start += len(chunk)
        yield chunk
