"""tus 1.0, the protocol of resumable uploads (https://tus.io/protocols/resumable-upload): its headers, and taking bytes in.

Offered beyond the core: creation, creation-with-upload, expiration, termination, checksum.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import tempfile
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import anyio
from fastapi import Header, Request
from starlette.requests import ClientDisconnect

from api.problems.problems import Problem, from_validation
from api.requests.multipart import body_chunks
from storage.database.models import Upload

VERSION = "1.0.0"
HEADER = "tus-resumable"
EXTENSIONS = "creation,creation-with-upload,expiration,termination,checksum"
PATH = "/v1/uploads"
BYTES = "application/offset+octet-stream"
CHECKSUMS = ("sha1", "sha256")
BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
PAIR = rf"\s*[\x21-\x2b\x2d-\x7e]+(?: {BASE64})?\s*"
"""Patterns for the document: base64, and one pair of Upload-Metadata."""

CODES = (
    "tus_version_unsupported",
    "bad_request",
    "upload_stalled",
    "file_too_large",
    "unsupported_media_type",
    "checksum_mismatch",
    "offset_mismatch",
    "disk_full",
    "store_away",
    "validation_failed",
)
"""What any request that brings bytes may be answered with."""

PART = 4 << 20
"""Bytes after which what has arrived is put into the store, and counts. A process that is killed loses no more of it."""


def check_version(
    tus_resumable: Annotated[str, Header(description="the version of tus", json_schema_extra={"enum": [VERSION]})] = "",
) -> None:
    """A dependency of the protocol's own requests. Raises Problem `tus_version_unsupported`."""
    if tus_resumable != VERSION:
        said = f"Tus-Resumable is {tus_resumable!r}." if tus_resumable else "There is no Tus-Resumable header."
        raise Problem("tus_version_unsupported", said, headers={"Tus-Version": VERSION})


def headers(upload: Upload) -> dict[str, str]:
    """What every answer about an upload says."""
    return {
        "Upload-Offset": str(upload.received),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }


def parse_metadata(header: str) -> dict[str, bytes]:
    """Upload-Metadata: pairs `key base64`, joined by commas, the value perhaps missing. Raises Problem `validation_failed`."""
    pairs: dict[str, bytes] = {}
    for pair in header.split(",") if header else []:
        match = re.fullmatch(r"\s*([\x21-\x2b\x2d-\x7e]+)(?: ([A-Za-z0-9+/]*={0,2}))?\s*", pair)
        try:
            if match is None or match[1] in pairs:
                raise ValueError
            pairs[match[1]] = base64.b64decode(match[2] or "", validate=True)
        except ValueError as error:
            wrong = "This is not pairs of a key, each once, and a value in base64"
            raise from_validation([{"loc": ("header", "Upload-Metadata"), "msg": wrong}]) from error
    return pairs


class Checksum:
    """The Upload-Checksum of one request, `algorithm base64`. Raises Problem `bad_request`."""

    def __init__(self, header: str):
        name, _, digest = header.partition(" ")
        if name not in CHECKSUMS:
            raise Problem("bad_request", f"Upload-Checksum may be of {' or '.join(CHECKSUMS)}.")
        try:
            self.wanted = base64.b64decode(digest, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Problem("bad_request", "Upload-Checksum holds no base64.") from error
        self.seen = hashlib.new(name)

    def check(self) -> None:
        """Raises Problem `checksum_mismatch`."""
        if self.seen.digest() != self.wanted:
            raise Problem("checksum_mismatch")


async def receive(
    request: Request,
    upload: Upload,
    append: Callable[[int, BinaryIO], Awaitable[Upload]],
    *,
    checksum: Checksum | None,
    folder: Path,
) -> Upload:
    """Takes the body in as the next bytes of `upload`; returns the upload as it is then.

    `append` (start, file) is awaited with each part of the body, a nameless file on the disk of `folder`. What
    arrived before a connection broke counts; with a checksum the whole body counts, or nothing.
    Raises Problem `file_too_large` (beyond the upload's size), `upload_stalled`, `checksum_mismatch`, ClientDisconnect.
    """
    room = upload.size - upload.received
    remedy = "Send what is missing of the file, and no more."
    too_large = Problem("file_too_large", f"{room} bytes are missing of {upload.size}.", remedy=remedy)
    with tempfile.TemporaryFile(dir=folder) as part:

        async def hand_over() -> None:
            nonlocal upload
            if part.tell() > 0:
                part.seek(0)
                upload = await append(upload.received, part)
                part.seek(0)
                part.truncate()

        try:
            async for chunk in body_chunks(request, room, too_large):
                await anyio.to_thread.run_sync(part.write, chunk)
                if checksum is not None:
                    checksum.seen.update(chunk)
                elif part.tell() >= PART:
                    await hand_over()
        except (ClientDisconnect, Problem):
            if checksum is None:
                await hand_over()
            raise
        if checksum is not None:
            checksum.check()
        await hand_over()
    return upload
