"""Routes of bundles: files that carry subjects from one service to another (storage/bundles.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session
from starlette.types import Receive, Scope, Send

from api.auth import AccessCheck, CallerDep, grant
from api.deps import DatabaseDep, SettingsDep, StoreDep, Turns, TurnsDep
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import Problem
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import IdempotencyDep, ReservedDep
from api.requests.multipart import FileRule, Form, parse_multipart
from api.requests.quota_precheck import require_quota
from api.responses import serializers
from api.schemas import resources
from api.services import bundles, subjects
from storage.errors import StorageError

router = APIRouter(prefix="/v1/subjects", tags=["subjects"])


def _rule(settings: SettingsDep) -> FileRule:
    return FileRule(settings.max_upload_bytes, file_type.require_zip)


RuleDep = Annotated[FileRule, Depends(_rule)]


async def _form(
    request: Request, settings: SettingsDep, rule: RuleDep, store: StoreDep, reserved: ReservedDep
) -> AsyncIterator[Form]:
    fields, files = resources.SubjectImportForm.model_fields, {"bundle": rule}
    async with parse_multipart(request, fields=fields, files=files, store=store, folder=settings.data_dir) as form:
        yield form


_EXPORT: dict[str, Any] = {
    "path": "/{subject_id}/export",
    "summary": "Export a subject as a bundle",
    "response_class": Response,
    "responses": {
        200: responses.file("the bundle", "application/zip"),
        **problems(
            "not_found",
            "consent_withdrawn",
            "in_trash",
            "subject_not_ready",
            "bundles_off",
            "object_missing",
            "store_away",
        ),
    },
}


@router.head("/{subject_id}/export", include_in_schema=False)
@router.get(**_EXPORT)
@router.post(**_EXPORT)
async def export_subject(
    subject_id: str,
    request: Request,
    caller: CallerDep,
    settings: SettingsDep,
    store: StoreDep,
    turns: TurnsDep,
) -> Response:
    """A ZIP with the footage, the model, and the record of consent, signed by this service. It is not stored. GET and POST do the same.

    Whoever has it can make videos of the person, where this service is trusted; a later withdrawal of the consent does not reach it. The key
    needs the scope `read` as well as `write`.
    """
    # The answer is all that the owner's GETs show, and videos of the person can be made with it.
    for scope in ("read", "write"):
        caller.check(scope)
    find = grant(request, lambda session: bundles.export(session, subject_id, owner=caller.owner))
    exported = await turns.read(find)
    pieces = bundles.pieces(store, settings, exported)
    # What is missing is told while the status can still say so.
    await turns.open(lambda: [store.size(key) for key in exported.keys.values()])
    first = await turns.open(lambda: next(pieces))
    name = quote(f"{exported.manifest['subject']['name']}.zip", safe="")
    headers = {
        "Cache-Control": "private, no-store",
        "Content-Disposition": f"attachment; filename=\"{subject_id}.zip\"; filename*=UTF-8''{name}",
    }
    if request.method == "HEAD":
        return Response(headers=headers, media_type="application/zip")
    return _BundleStream(AccessCheck(request), _rest(first, pieces, turns), headers)


class _BundleStream(StreamingResponse):
    """A response that breaks off when it is not allowed any more."""

    def __init__(self, access: AccessCheck, content: AsyncIterator[bytes], headers: dict[str, str]):
        super().__init__(content, media_type="application/zip", headers=headers)
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._access.beside():
            await super().__call__(scope, receive, send)


async def _rest(first: bytes, pieces: Iterator[bytes], turns: Turns) -> AsyncIterator[bytes]:
    """Yields all pieces. Raises OSError in place of a problem, which cannot be answered any more: the connection breaks."""
    piece: bytes | None = first
    while piece is not None:
        yield piece
        try:
            piece = await turns.open(lambda: next(pieces, None))
        except (Problem, StorageError) as error:
            raise OSError(str(error)) from error


@router.post(
    "/import",
    status_code=201,
    response_model=resources.Subject,
    summary="Make a subject from a bundle",
    responses=problems(
        *(code for code in responses.FORM_CODES if code != "not_media"),
        *responses.UPLOAD_CODES,
        "bundle_refused",
        "bundles_off",
        "consent_withdrawn",
        "quota_exceeded",
    ),
    dependencies=[require_quota("subjects", "stored_bytes")],
    openapi_extra=responses.form(
        resources.SubjectImportForm,
        either=("bundle", "upload_id"),
        bundle="a file of POST /v1/subjects/{subject_id}/export",
    ),
)
async def import_subject(
    caller: CallerDep,  # before the form: the body of an unauthorized request is not read
    form: Annotated[Form, Depends(_form, scope="function")],
    idempotency: IdempotencyDep,
    rule: RuleDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    turns: TurnsDep,
) -> Response:
    """A new subject, ready at once, with the record of consent of the bundle; `imported_from` names its origin.

    The bundle must be unchanged, and signed by this service or by one that its operator trusts.
    """
    texts = form.parse(resources.SubjectImportForm)

    def store_bundle() -> bundles.StoredBundle:
        sources = {"owner": caller.owner, "database": database, "store": store}
        file = file_or_upload(form, "bundle", texts.upload_id, rule, **sources).file
        return bundles.store_bundle(store, settings, file)

    stored = await turns.store(store_bundle)

    def create(session: Session) -> Response:
        row = bundles.submit_import(session, store, settings, owner=caller.owner, name=texts.name, bundle=stored)
        subject = serializers.subject(session, row)
        return idempotency.respond(session, subject, headers={"Location": subject.links.self})

    return await turns.write(create, undo=lambda: store.delete_prefix(subjects.folder(stored.subject_id)))
