"""Subjects: people of whom videos can be made."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import PurePath
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from api.auth import CallerDep
from api.deps import Cursor, DatabaseDep, Limit, ReadSession, SettingsDep, StoreDep, WriteSession
from api.openapi import responses
from api.openapi.responses import problems
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import IdempotencyDep, ReservedDep
from api.requests.json_body import JsonBody
from api.requests.multipart import FileRule, Form, parse_multipart
from api.requests.quota_precheck import require_quota
from api.responses import serializers
from api.responses.byte_ranges import file_response
from api.schemas import resources
from api.services import subjects
from storage.database import queries
from storage.database.models import Subject, SubjectState
from storage.objects.base import ObjectStore

router = APIRouter(prefix="/v1/subjects", tags=["subjects"])

REPORT_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of a report. It has no script and asks for nothing; should a name ever get past the escaping, it could do nothing either."""


def _rules(settings: SettingsDep) -> dict[str, FileRule]:
    return {"video": FileRule(settings.max_video_bytes, file_type.require_media)}


RulesDep = Annotated[dict[str, FileRule], Depends(_rules)]


async def _form(request: Request, settings: SettingsDep, rules: RulesDep, reserved: ReservedDep) -> AsyncIterator[Form]:
    fields = resources.SubjectForm.model_fields
    async with parse_multipart(request, fields=fields, files=rules, folder=settings.data_dir) as form:
        yield form


@router.post(
    "",
    status_code=202,
    response_model=resources.Subject,
    summary="Make a subject of a reference video",
    responses={
        202: responses.accepted_response("the subject"),
        **problems(*responses.FORM_CODES, *responses.UPLOAD_CODES, "quota_exceeded"),
    },
    dependencies=[require_quota("subjects", "queued_jobs", "stored_bytes")],
    openapi_extra=responses.form(
        resources.SubjectForm,
        either=("video", "upload_id"),
        video="the person speaking, facing the camera, 8 s to 10 min",
    ),
)
def create_subject(
    caller: CallerDep,  # first: nobody's body is read before
    form: Annotated[Form, Depends(_form, scope="function")],
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    session: WriteSession,
) -> Response:
    """Takes the video in and answers at once; two jobs follow, `preprocess` and then `train`.

    Poll the subject or its jobs. Footage that cannot work makes `preprocess` fail with the reason and the remedy.
    """
    texts = form.parse(resources.SubjectForm)
    sources = {"owner": caller.owner, "database": database, "store": store}
    with file_or_upload(form, "video", texts.upload_id, rules["video"], **sources) as video:
        row = subjects.submit_subject(
            session,
            store,
            settings,
            owner=caller.owner,
            name=texts.name or PurePath(video.name).stem.strip() or "unnamed",
            preset=texts.preset,
            consent=texts.consent,
            consent_by=texts.consent_by,
            video=video.file,
            limit=rules["video"].limit,
            upload_id=texts.upload_id,
        )
    subject = serializers.subject(session, row)
    headers = {"Location": subject.links.self, **serializers.retry_after(subject.jobs)}
    return idempotency.respond(session, subject, headers=headers)


@router.get("", summary="List subjects, newest first", responses=problems("validation_failed"))
def list_subjects(
    caller: CallerDep, session: ReadSession, state: SubjectState | None = None, limit: Limit = 50, cursor: Cursor = None
) -> resources.Page[resources.Subject]:
    """A page of subjects."""
    page = queries.page(session, Subject, owner=caller.owner, state=state, limit=limit, cursor=cursor)
    return serializers.subjects(session, page)


@router.get("/{subject_id}", summary="Read a subject", responses=problems("not_found"))
def get_subject(subject_id: str, caller: CallerDep, response: Response, session: ReadSession) -> resources.Subject:
    """The subject with its jobs, oldest first. Poll it with If-None-Match, at the pace of Retry-After."""
    subject = serializers.subject(session, queries.get(session, Subject, subject_id, owner=caller.owner))
    response.headers.update(serializers.retry_after(subject.jobs))
    return subject


@router.patch(
    "/{subject_id}",
    summary="Rename a subject",
    responses=problems("not_found", "body_too_large", "unsupported_media_type", "upload_stalled", "validation_failed"),
)
def patch_subject(
    caller: CallerDep, subject_id: str, patch: JsonBody[resources.SubjectPatch], session: WriteSession
) -> resources.Subject:
    """The subject with its new name."""
    return serializers.subject(session, subjects.rename_subject(session, subject_id, patch.name, owner=caller.owner))


@router.delete("/{subject_id}", status_code=204, summary="Delete a subject", responses=problems("not_found"))
def delete_subject(subject_id: str, caller: CallerDep, session: WriteSession, store: StoreDep) -> None:
    """Removes the subject, its videos and all their files. Work on it stops within seconds."""
    subjects.delete_subject(session, store, subject_id, owner=caller.owner)


@router.head("/{subject_id}/preview", include_in_schema=False)
@router.get(
    "/{subject_id}/preview",
    summary="See a subject",
    response_class=Response,
    responses={
        200: responses.file("the newest picture", "image/jpeg"),
        304: {"description": "not changed"},
        **problems("not_found", "preview_not_ready", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
def get_preview(
    subject_id: str, request: Request, caller: CallerDep, session: ReadSession, store: StoreDep
) -> Response:
    """What training has come to so far."""
    key = subjects.subject_preview(session, subject_id, owner=caller.owner)
    return _shown(request, store, key, "image/jpeg", {"Cache-Control": "no-cache"})


@router.head("/{subject_id}/views", include_in_schema=False)
@router.get(
    "/{subject_id}/views",
    summary="See a subject turned",
    response_class=Response,
    responses={
        200: responses.file("a sheet of pictures, laid out as the subject's `views` says", "image/jpeg"),
        304: {"description": "not changed"},
        **problems("not_found", "views_not_ready", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
def get_views(subject_id: str, request: Request, caller: CallerDep, session: ReadSession, store: StoreDep) -> Response:
    """The subject turned, from limit to limit: to choose the `view` of a video by."""
    key = subjects.subject_views(session, subject_id, owner=caller.owner)
    return _shown(request, store, key, "image/jpeg", {"Cache-Control": "no-cache"})


@router.head("/{subject_id}/report", include_in_schema=False)
@router.get(
    "/{subject_id}/report",
    summary="Read how good a subject is",
    response_class=Response,
    responses={
        200: responses.file("a self-contained page", "text/html"),
        304: {"description": "not changed"},
        **problems("not_found", "report_not_ready", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
def get_report(subject_id: str, request: Request, caller: CallerDep, session: ReadSession, store: StoreDep) -> Response:
    """What the held-out footage says about the subject, in words, pictures and figures; it loads nothing and runs nothing."""
    key = subjects.subject_report(session, subject_id, owner=caller.owner)
    return _shown(request, store, key, "text/html; charset=utf-8", REPORT_HEADERS)


def _shown(request: Request, store: ObjectStore, key: str, media_type: str, headers: Mapping[str, str]) -> Response:
    """An object that is shown as it is; what is made anew has another key, which is its tag."""
    size, tag = store.size(key), f'"{PurePath(key).name}"'
    return file_response(request, store.open(key), size, etag=tag, media_type=media_type, headers=headers)
