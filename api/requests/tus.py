"""The protocol of resumable uploads, tus 1.0 (https://tus.io/protocols/resumable-upload): its headers and bodies.

Besides the core protocol there are the extensions creation, creation-with-upload, expiration, termination and checksum.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Awaitable, Callable
from email.utils import format_datetime
from typing import Annotated

import anyio
from fastapi import Header, Request
from starlette.requests import ClientDisconnect

from api.problems.problems import Problem, from_validation
from api.requests.arrivals import Arrival
from api.requests.multipart import body_chunks
from storage.database.models import Upload
from storage.objects.base import IncomingFile, ObjectStore

VERSION = "1.0.0"
HEADER = "tus-resumable"
EXTENSIONS = "creation,creation-with-upload,expiration,termination,checksum"
PATH = "/v1/uploads"
MEDIA_TYPE = "application/offset+octet-stream"
"""Content-Type of a body that brings bytes of a file."""
CHECKSUMS = ("sha1", "sha256")
_BASE64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
METADATA_PAIR = rf"\s*[\x21-\x2b\x2d-\x7e]+(?: {_BASE64})?\s*"
"""Pattern of one pair of Upload-Metadata, for /openapi.json."""

CODES = (
    "tus_version_unsupported",
    "bad_request",
    "upload_stalled",
    "upload_locked",
    "too_many_parts",
    "quota_exceeded",
    "file_too_large",
    "unsupported_media_type",
    "checksum_mismatch",
    "offset_mismatch",
    "disk_full",
    "store_away",
    "validation_failed",
)
"""Codes of the problems with which any request that brings bytes may be answered."""

PART_BYTES = 8 << 20
"""Once a body has brought so many bytes, they are stored as a part and count: a process that is killed loses no more.

A bucket joins parts of at least 5 MiB without sending them again (storage/objects/s3_join.py); larger parts mean fewer
requests, and more bytes to send again after a crash.
"""


def check_version(
    tus_resumable: Annotated[str, Header(description="the version of tus", json_schema_extra={"enum": [VERSION]})] = "",
) -> None:
    """A dependency of all requests of the protocol. Raises Problem `tus_version_unsupported`."""
    if tus_resumable != VERSION:
        message = f"Tus-Resumable is {tus_resumable!r}." if tus_resumable else "There is no Tus-Resumable header."
        raise Problem("tus_version_unsupported", message, headers={"Tus-Version": VERSION})


def headers(upload: Upload) -> dict[str, str]:
    """Returns the headers of every response about an upload."""
    return {
        "Upload-Offset": str(upload.received),
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }


def parse_metadata(header: str) -> dict[str, bytes]:
    """Returns the decoded values of Upload-Metadata by key. Raises Problem `validation_failed`.

    Args:
        header: Pairs `key base64`, joined by commas; a value may be missing.
    """
    pairs: dict[str, bytes] = {}
    for pair in header.split(",") if header else []:
        match = re.fullmatch(r"\s*([\x21-\x2b\x2d-\x7e]+)(?: ([A-Za-z0-9+/]*={0,2}))?\s*", pair)
        try:
            if match is None or match[1] in pairs:
                raise ValueError
            pairs[match[1]] = base64.b64decode(match[2] or "", validate=True)
        except ValueError as error:
            message = "This is not a list of pairs of a key, each once, and a value in base64"
            raise from_validation([{"loc": ("header", "Upload-Metadata"), "msg": message}]) from error
    return pairs


class Checksum:
    """The header Upload-Checksum of a request, `algorithm base64`, and the digest of the body so far.

    Raises Problem `bad_request` if the header is malformed or names another algorithm than those of CHECKSUMS.
    """

    def __init__(self, header: str):
        name, _, digest = header.partition(" ")
        if name not in CHECKSUMS:
            raise Problem("bad_request", f"The algorithm of Upload-Checksum can be {' or '.join(CHECKSUMS)}.")
        try:
            self.expected = base64.b64decode(digest, validate=True)
        except (binascii.Error, ValueError) as error:
            raise Problem("bad_request", "The digest of Upload-Checksum is not base64.") from error
        self._digest = hashlib.new(name)

    def update(self, chunk: bytes) -> None:
        """Adds the next bytes of the body."""
        self._digest.update(chunk)

    def check(self) -> None:
        """Raises Problem `checksum_mismatch` if the body is not the one of the header."""
        if self._digest.digest() != self.expected:
            raise Problem("checksum_mismatch")


async def receive(
    request: Request,
    upload: Upload,
    append: Callable[[int, IncomingFile], Awaitable[Upload]],
    extend: Callable[[Upload], Awaitable[Upload]],
    *,
    checksum: Checksum | None,
    store: ObjectStore,
    arrival: Arrival,
) -> Upload:
    """Receives the body as the next bytes of `upload`, and returns the upload as it is then.

    Everything that arrived before a connection broke counts. With a checksum, the whole body counts or nothing.

    Args:
        append: Is awaited with the offset and the file of each part of the body.
        extend: Is awaited after each chunk of the body; lets the upload not expire meanwhile.
        checksum: The checksum of the body, if it has one.
        store: Where `append` will store the parts.
        arrival: Counts the body until it is stored.

    Raises:
        QuotaExceeded: The owner's quota has no room for all that is arriving.
        Problem: `file_too_large` (the body goes beyond the upload's size), `upload_stalled`, `checksum_mismatch`.
        ClientDisconnect: The connection broke.
    """
    missing = upload.size - upload.received
    part: IncomingFile | None = None

    async def store_part() -> None:
        nonlocal part, upload
        if part is not None:
            complete, part = part, None
            arrival.remove(complete.size)
            with complete:
                upload = await append(upload.received, complete)

    try:
        async for chunk in body_chunks(request, missing, _too_large(missing), arrival):
            if not chunk:
                continue
            part = part or store.create_incoming(hashed=False)
            await anyio.to_thread.run_sync(part.write, chunk)
            if checksum is not None:
                checksum.update(chunk)
            elif part.size >= PART_BYTES:
                await store_part()
            upload = await extend(upload)
        if checksum is not None:
            checksum.check()
        await store_part()
    except (ClientDisconnect, Problem):
        if checksum is None:
            await store_part()
        raise
    finally:
        if part is not None:
            part.close()
    return upload


def _too_large(missing: int) -> Problem:
    message = f"The body has more than the {missing} bytes that are still missing from this upload."
    return Problem("file_too_large", message, remedy="Send the missing bytes of the file, and no more.")
