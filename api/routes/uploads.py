"""Uploads: large files, and shaky connections. What is sent here is used by its id, in the place of a file of a form."""

from __future__ import annotations

from typing import Annotated, BinaryIO

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Request, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import Cursor, DatabaseDep, Limit, ReadSession, SettingsDep, StoreDep, WriteSession
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import Problem
from api.requests import tus
from api.requests.idempotency import IdempotencyDep
from api.requests.multipart import content_length, display_name
from api.responses import serializers
from api.schemas import resources
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Upload
from storage.errors import OffsetMismatch
from storage.objects.base import ObjectStore
from storage.settings import Settings
from storage.tables import uploads

router = APIRouter(prefix=tus.PATH, tags=["uploads"])
TUS = [Depends(tus.check_version)]

MAX_HEADER = 8192
"""Length of Upload-Metadata, at most."""
LARGEST = (1 << 53) - 1
"""A number beyond this is no number of bytes."""

LOCATION = {"Location": "where the upload is"}
STANDING = {"Upload-Offset": "how much of it is there, bytes", "Upload-Expires": "until when it is kept"}

Length = Annotated[int, Header(ge=1, le=LARGEST, description="bytes of the whole file")]
Offset = Annotated[int, Header(ge=0, le=LARGEST, description="how much of the file is there, as HEAD tells")]
Metadata = Annotated[
    str,
    Header(
        max_length=MAX_HEADER,
        description="pairs `key base64`; `filename` is shown",
        json_schema_extra={"pattern": f"^({tus.PAIR}(,{tus.PAIR})*)?$"},
    ),
]
Digest = Annotated[
    str | None,
    Header(
        description=f"`algorithm base64` of the body: {', '.join(tus.CHECKSUMS)}",
        json_schema_extra={"pattern": "^(sha1 [A-Za-z0-9+/]{27}=|sha256 [A-Za-z0-9+/]{43}=)$"},
    ),
]


def _expected(request: Request, checksum: str | None) -> tus.Checksum | None:
    """The checksum of a body of bytes, if it has one. Raises Problem `unsupported_media_type`, `bad_request`."""
    if request.headers.get("content-type") != tus.BYTES:
        raise Problem(
            "unsupported_media_type", "Bytes of a file are needed here.", remedy=f"Send Content-Type: {tus.BYTES}."
        )
    return None if checksum is None else tus.Checksum(checksum)


async def _receive(
    request: Request,
    upload: Upload,
    settings: Settings,
    database: Database,
    store: ObjectStore,
    checksum: tus.Checksum | None,
) -> Upload:
    """Takes in the body of `request` as the next bytes of `upload`."""

    def append(start: int, source: BinaryIO) -> Upload:
        with database.session() as session:
            return uploads.append(session, store, settings, upload.id, start, source, owner=upload.owner)

    async def in_turn(start: int, source: BinaryIO) -> Upload:
        async with request.app.state.writers:
            return await to_thread.run_sync(append, start, source)

    return await tus.receive(request, upload, in_turn, checksum=checksum, folder=settings.data_dir)


@router.options("", include_in_schema=False)
@router.options("/{upload_id}", include_in_schema=False)
def options(settings: SettingsDep) -> Response:
    """What of tus is spoken here."""
    offered = {
        "Tus-Version": tus.VERSION,
        "Tus-Extension": tus.EXTENSIONS,
        "Tus-Max-Size": str(settings.max_upload_bytes),
        "Tus-Checksum-Algorithm": ",".join(tus.CHECKSUMS),
    }
    return Response(status_code=204, headers=offered)


@router.post(
    "",
    status_code=201,
    response_model=resources.Upload,
    dependencies=TUS,
    summary="Begin a resumable upload",
    responses={
        201: responses.response_with_headers("begun", **LOCATION, **STANDING),
        **problems("too_many_uploads", "quota_exceeded", *tus.CODES),
    },
    openapi_extra=responses.bytes_body(tus.BYTES, required=False),
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
    """The new upload, by tus 1.0; the body may hold its first bytes. Any tus client sends the rest.

    The id then goes into `upload_id` of POST /v1/subjects or POST /v1/videos.
    """
    name = display_name(tus.parse_metadata(upload_metadata).get("filename", b"").decode(errors="replace"))

    def respond(session: Session | None, upload: Upload) -> Response:
        headers = {"Location": f"{tus.PATH}/{upload.id}", **tus.headers(upload)}
        return idempotency.respond(session, serializers.upload(upload), headers=headers)

    def create() -> tuple[Upload, Response | None]:
        with database.session() as session:
            upload = uploads.create(
                session, settings, owner=caller.owner, size=upload_length, name=name, metadata=upload_metadata
            )
            return upload, None if with_bytes else respond(session, upload)

    with_bytes = "content-type" in request.headers or content_length(request) > 0
    checksum = _expected(request, upload_checksum) if with_bytes else None
    async with request.app.state.writers:
        upload, response = await to_thread.run_sync(create)
    if response is None:
        upload = await _receive(request, upload, settings, database, store, checksum)
        response = await to_thread.run_sync(respond, None, upload)
    return response


@router.get("", summary="List uploads, newest first", responses=problems("validation_failed"))
def list_uploads(
    caller: CallerDep, session: ReadSession, limit: Limit = 50, cursor: Cursor = None
) -> resources.Page[resources.Upload]:
    """A page of the uploads that were begun, complete or not, used or not, until they expire."""
    return serializers.uploads(queries.page(session, Upload, limit=limit, cursor=cursor, owner=caller.owner))


@router.get("/{upload_id}", summary="Read an upload", responses=problems("not_found"))
def get_upload(upload_id: str, caller: CallerDep, session: ReadSession) -> resources.Upload:
    """How much of it is there, until when it is kept, and what was made of it."""
    return serializers.upload(uploads.get(session, upload_id, owner=caller.owner))


@router.head(
    "/{upload_id}",
    dependencies=TUS,
    summary="See how much of an upload is there",
    response_class=Response,
    responses={
        200: responses.response_with_headers("found", **STANDING, **{"Upload-Length": "bytes of the whole file"}),
        **problems("not_found", "tus_version_unsupported"),
    },
)
def head_upload(upload_id: str, caller: CallerDep, session: ReadSession) -> Response:
    """The offset from which to go on, in headers."""
    upload = uploads.get(session, upload_id, owner=caller.owner)
    said = {**tus.headers(upload), "Upload-Length": str(upload.size), "Cache-Control": "no-store"}
    if upload.sent_metadata:
        said["Upload-Metadata"] = upload.sent_metadata
    return Response(headers=said)


@router.patch(
    "/{upload_id}",
    status_code=204,
    dependencies=TUS,
    summary="Send the next bytes of an upload",
    response_class=Response,
    responses={204: responses.response_with_headers("taken in", **STANDING), **problems("not_found", *tus.CODES)},
    openapi_extra=responses.bytes_body(tus.BYTES),
)
async def patch_upload(
    upload_id: str,
    request: Request,
    settings: SettingsDep,
    database: DatabaseDep,
    store: StoreDep,
    caller: CallerDep,
    upload_offset: Offset,
    upload_checksum: Digest = None,
) -> Response:
    """Bytes from Upload-Offset on, as many as the body has; what arrives before the connection breaks counts too."""

    def find() -> Upload:
        with database.session(write=False) as session:
            return uploads.get(session, upload_id, owner=caller.owner)

    checksum = _expected(request, upload_checksum)
    upload = await to_thread.run_sync(find)
    if upload.received != upload_offset:
        raise OffsetMismatch(f"Bytes from {upload_offset} on were sent; there are {upload.received}.")
    upload = await _receive(request, upload, settings, database, store, checksum)
    return Response(status_code=204, headers=tus.headers(upload))


@router.delete(
    "/{upload_id}",
    status_code=204,
    dependencies=TUS,
    summary="Give up an upload",
    responses=problems("not_found", "tus_version_unsupported"),
)
def delete_upload(upload_id: str, caller: CallerDep, session: WriteSession, store: StoreDep) -> None:
    """Removes what has arrived. What was made of the upload stays."""
    uploads.remove(session, store, upload_id, owner=caller.owner)
