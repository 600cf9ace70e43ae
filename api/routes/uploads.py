"""Resumable uploads, for large files and unreliable connections. An upload's id takes the place of a file of a form."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import Cursor, DatabaseDep, Limit, ReadSession, SettingsDep, StoreDep, Turns, WriteSession
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import Problem
from api.requests import tus
from api.requests.arrivals import Arrival
from api.requests.idempotency import IdempotencyDep
from api.requests.if_match import IfMatchDep
from api.requests.multipart import content_length, display_name
from api.responses import serializers
from api.schemas import base, resources
from api.schemas.numbers import PLAIN
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Upload
from storage.errors import OffsetMismatch
from storage.objects.base import IncomingFile, ObjectStore
from storage.settings import Settings
from storage.tables import uploads

router = APIRouter(prefix=tus.PATH, tags=["uploads"])
TUS = [Depends(tus.check_version)]

MAX_METADATA_LENGTH = 8192
"""Characters that Upload-Metadata can have: a file name and some more pairs; it is stored with the upload."""
MAX_FILE_BYTES = (1 << 53) - 1
"""Largest number of bytes that a header can name: the largest integer that every JSON client represents exactly."""

LOCATION = {"Location": "the upload's URL"}
OFFSET_HEADERS = {"Upload-Offset": "bytes that have arrived", "Upload-Expires": "when the upload will be deleted"}

Length = Annotated[
    Annotated[int, Field(ge=1, le=MAX_FILE_BYTES), PLAIN], Header(description="size of the whole file in bytes")
]
Offset = Annotated[
    Annotated[int, Field(ge=0, le=MAX_FILE_BYTES), PLAIN], Header(description="bytes that have arrived, as HEAD tells")
]
Metadata = Annotated[
    str,
    Header(
        max_length=MAX_METADATA_LENGTH,
        description="pairs `key base64`, joined by commas; the value of `filename` is shown",
        json_schema_extra={"pattern": f"^({tus.METADATA_PAIR}(,{tus.METADATA_PAIR})*)?$"},
    ),
]
Digest = Annotated[
    str | None,
    Header(
        description=f"`algorithm base64` of the body: {', '.join(tus.CHECKSUMS)}",
        json_schema_extra={"pattern": "^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$"},
    ),
]


def _parse_checksum(request: Request, checksum: str | None) -> tus.Checksum | None:
    """Returns the header Upload-Checksum of a body that brings bytes, if it has one.

    Raises Problem `unsupported_media_type`, `bad_request`.
    """
    if request.headers.get("content-type") != tus.MEDIA_TYPE:
        raise Problem(
            "unsupported_media_type", "Bytes of a file are needed here.", remedy=f"Send Content-Type: {tus.MEDIA_TYPE}."
        )
    return None if checksum is None else tus.Checksum(checksum)


async def _receive(
    request: Request,
    upload: Upload,
    settings: Settings,
    database: Database,
    store: ObjectStore,
    checksum: tus.Checksum | None,
    arrival: Arrival,
) -> Upload:
    """Receives the body of `request` as the next bytes of `upload`."""

    turns: Turns = request.app.state.turns.of(upload.owner)

    async def append(start: int, part: IncomingFile) -> Upload:
        stored = await turns.store(lambda: uploads.store_part(store, upload.id, start, part))
        return await turns.write(
            lambda session: uploads.append(session, store, settings, upload.id, start, stored, owner=upload.owner),
            undo=lambda: store.delete(stored.key),
        )

    begun_at, extended = time.monotonic(), False

    async def extend(current: Upload) -> Upload:
        nonlocal begun_at, extended
        if not uploads.expires_soon(current, settings, arriving_s=time.monotonic() - begun_at, extended=extended):
            return current
        begun_at, extended = time.monotonic(), True
        with suppress(OperationalError, PoolTimeout):  # then a later chunk extends it
            return await turns.write(lambda session: uploads.extend(session, settings, upload.id, owner=upload.owner))
        return current

    return await tus.receive(request, upload, append, extend, checksum=checksum, store=store, arrival=arrival)


@router.options("", include_in_schema=False)
@router.options("/{upload_id}", include_in_schema=False)
def options(settings: SettingsDep) -> Response:
    """Returns the version and the extensions of tus that the service supports, and its limits."""
    headers = {
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(settings.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(tus.CHECKSUMS),
    }
    return Response(status_code=204, headers=headers)


@router.post(
    "",
    status_code=201,
    response_model=resources.Upload,
    dependencies=TUS,
    summary="Begin a resumable upload",
    responses={
        201: responses.response_with_headers("the upload has begun", **LOCATION, **OFFSET_HEADERS),
        **problems("too_many_uploads", *tus.CODES),
    },
    openapi_extra=responses.bytes_body(tus.MEDIA_TYPE, required=False),
)
async def create_upload(
    request: Request,
    settings: SettingsDep,
    database: DatabaseDep,
    store: StoreDep,
    caller: CallerDep,
    idempotency: IdempotencyDep,
    upload_length: Length,
    upload_metadata: Metadata = "",
    upload_checksum: Digest = None,
) -> Response:
    """Begins an upload by tus 1.0; the body may bring its first bytes. Any tus client can send the rest.

    Then send the id as `upload_id` of POST /v1/subjects, POST /v1/videos or POST /v1/verify.
    """
    name = display_name(tus.parse_metadata(upload_metadata).get("filename", b"").decode(errors="replace"))

    def respond(session: Session, upload: Upload) -> Response:
        headers = {"Location": f"{tus.PATH}/{upload.id}", **tus.headers(upload)}
        return idempotency.respond(session, serializers.upload(upload), headers=headers)

    def create() -> tuple[Upload, Response | None]:
        with database.session() as session:
            upload = uploads.create(
                session, settings, owner=caller.owner, size=upload_length, name=name, metadata=upload_metadata
            )
            return upload, None if with_bytes else respond(session, upload)

    with_bytes = "content-type" in request.headers or content_length(request) > 0
    checksum = _parse_checksum(request, upload_checksum) if with_bytes else None
    turns: Turns = request.app.state.turns.of(caller.owner)
    async with turns.slot():
        upload, response = await to_thread.run_sync(create)
    if response is None:
        with request.app.state.arrivals.write(request, upload.id) as arrival:
            upload = await _receive(request, upload, settings, database, store, checksum, arrival)
        response = await turns.write(lambda session: respond(session, upload))
    return response


@router.get("", summary="List uploads, newest first", responses=problems("validation_failed"))
def list_uploads(
    caller: CallerDep, session: ReadSession, limit: Limit = 50, cursor: Cursor = None
) -> base.Page[resources.Upload]:
    """Returns a page of uploads: incomplete, complete and used ones, until they expire."""
    unexpired = Upload.expires_at > queries.server_now(session)
    return serializers.uploads(queries.page(session, Upload, unexpired, limit=limit, cursor=cursor, owner=caller.owner))


@router.get("/{upload_id}", summary="Read an upload", responses=problems("not_found"))
def get_upload(upload_id: str, caller: CallerDep, session: ReadSession) -> resources.Upload:
    """Returns how many bytes have arrived, when the upload expires, and what was made of it."""
    return serializers.upload(uploads.get(session, upload_id, owner=caller.owner))


@router.head(
    "/{upload_id}",
    dependencies=TUS,
    summary="Read the offset of an upload",
    response_class=Response,
    responses={
        200: responses.response_with_headers(
            "the offset", **OFFSET_HEADERS, **{"Upload-Length": "size of the whole file"}
        ),
        **problems("not_found", "tus_version_unsupported"),
    },
)
def head_upload(upload_id: str, caller: CallerDep, session: ReadSession) -> Response:
    """Returns, in headers, the offset from which to continue."""
    upload = uploads.get(session, upload_id, owner=caller.owner)
    headers = {**tus.headers(upload), "Upload-Length": str(upload.size), "Cache-Control": "no-store"}
    if upload.sent_metadata:
        headers["Upload-Metadata"] = upload.sent_metadata
    return Response(headers=headers)


@router.patch(
    "/{upload_id}",
    status_code=204,
    dependencies=TUS,
    summary="Send the next bytes of an upload",
    response_class=Response,
    responses={
        204: responses.response_with_headers("the bytes are stored", **OFFSET_HEADERS),
        **problems("precondition_failed", "not_found", *tus.CODES),
    },
    openapi_extra=responses.bytes_body(tus.MEDIA_TYPE),
)
async def patch_upload(
    upload_id: str,
    request: Request,
    settings: SettingsDep,
    database: DatabaseDep,
    store: StoreDep,
    caller: CallerDep,
    upload_offset: Offset,
    if_match: IfMatchDep,
    upload_checksum: Digest = None,
) -> Response:
    """Appends the body at Upload-Offset. If the connection breaks, everything that arrived before counts.

    An upload has one writer at a time; a second one gets 423 `upload_locked`, until the first has brought nothing for five seconds.
    """

    def find() -> Upload:
        with database.session(write=False) as session:
            upload = uploads.get(session, upload_id, owner=caller.owner)
            if_match.check(lambda: serializers.upload(upload))  # the offset protects from a race
            return upload

    checksum = _parse_checksum(request, upload_checksum)
    with request.app.state.arrivals.write(request, upload_id) as arrival:
        upload = await to_thread.run_sync(find)
        if upload.received != upload_offset:
            raise OffsetMismatch(
                f"The body starts at byte {upload_offset}, but the upload continues at byte {upload.received}."
            )
        upload = await _receive(request, upload, settings, database, store, checksum, arrival)
    return Response(status_code=204, headers=tus.headers(upload))


@router.delete(
    "/{upload_id}",
    status_code=204,
    dependencies=TUS,
    summary="Delete an upload",
    responses=problems("precondition_failed", "not_found", "tus_version_unsupported"),
)
def delete_upload(
    upload_id: str, caller: CallerDep, session: WriteSession, store: StoreDep, if_match: IfMatchDep
) -> None:
    """Deletes the upload and its bytes. What was made of it stays."""
    if_match.check(lambda: serializers.upload(uploads.get(session, upload_id, owner=caller.owner, for_change=True)))
    uploads.remove(session, store, upload_id, owner=caller.owner)
