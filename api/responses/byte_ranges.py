"""Conditional requests and byte ranges (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from fastapi import Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.problems.problems import Problem

CHUNK = 256 << 10


def not_modified(request: Request, etag: str) -> bool:
    """Whether If-None-Match names `etag` (quoted): the client has it already, so 304 is the answer."""
    wanted = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    return "*" in wanted or etag.removeprefix("W/") in wanted


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """The one range that `header` asks for, as (first byte, first byte after it); None where the whole file is due.

    A header that is malformed, has another unit or names several ranges is ignored, as a server may.
    Raises Problem `range_not_satisfiable`.
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
    request: Request, file: BinaryIO, size: int, *, etag: str, media_type: str, headers: dict[str, str]
) -> Response:
    """`file` (seekable, `size` bytes; closed here) as the answer to a GET or HEAD: 200, 206, 304, or Problem 416.

    `etag` is quoted and strong: equal tags mean equal bytes, so that a download cut off can be taken up again.
    """
    headers = {**headers, "Accept-Ranges": "bytes", "ETag": etag}
    if not_modified(request, etag):
        file.close()
        return Response(status_code=304, headers=headers)
    wanted = None
    if request.method == "GET" and request.headers.get("if-range", etag) == etag:
        try:
            wanted = byte_range(request.headers.get("range", ""), size)
        except Problem:
            file.close()
            raise
    start, stop = wanted or (0, size)
    headers["Content-Length"] = str(stop - start)
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    status = 206 if wanted else 200
    if request.method == "HEAD":
        file.close()
        return Response(status_code=status, headers=headers, media_type=media_type)
    return _Streaming(file, _read(file, start, stop), status, headers, media_type)


class _Streaming(StreamingResponse):
    """An answer that closes `file` at its end, also where the client goes away in the middle."""

    def __init__(self, file: BinaryIO, *answer: Any):
        super().__init__(*answer)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _read(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    while start < stop:
        chunk = file.read(min(CHUNK, stop - start))
        if not chunk:
            raise OSError("the file is shorter than it was")
        start += len(chunk)
        yield chunk
