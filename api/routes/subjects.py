"""Routes of subjects: people of whom videos can be made."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path, PurePath
from typing import Annotated, Any

from anyio import sleep
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from adnerf_core.config import FaceChoice
from api.auth import CallerDep, grant
from api.deps import Cursor, DatabaseDep, Limit, ReadSession, SettingsDep, StoreDep, Trash, TurnsDep, WriteSession
from api.openapi import responses
from api.openapi.responses import JSON_CODES, problems
from api.problems.problems import validation_problem
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import IdempotencyDep, ReservedDep
from api.requests.if_match import IfMatchDep
from api.requests.json_body import JsonBody, validate_json
from api.requests.multipart import FileRule, Form, parse_multipart
from api.requests.quota_precheck import require_quota
from api.responses import serializers
from api.routes.samples import sample_file
from api.routes.stored_object import object_response
from api.schemas import base, resources
from api.services import subjects
from storage.database import queries
from storage.database.models import Subject, SubjectState
from storage.settings import Settings
from storage.tables import removals
from storage.tables.uploads import FileSource

router = APIRouter(prefix="/v1/subjects", tags=["subjects"])

DELETION_S = 20.0
"""Seconds for which a request deletes a subject's videos before it leaves the others, which nobody sees any more, to the sweep: it deletes
some 100,000 in them, and clients commonly wait for 30 s."""
PAUSE_S = 0.05
"""Seconds between two batches of a deletion: SQLite's writers look for their turn a few dozen times a second, and it knows no queue."""
REPORT_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of a report. Reports need no scripts and load nothing, so everything is forbidden: if text from a client ever got
past the escaping, it could do nothing."""


def _rules(settings: SettingsDep) -> dict[str, FileRule]:
    rules = {"video": FileRule(settings.max_video_bytes, file_type.require_media)}
    if settings.consent_clip != "off":
        rules["consent_clip"] = FileRule(settings.max_consent_clip_bytes, file_type.require_media)
    return rules


RulesDep = Annotated[dict[str, FileRule], Depends(_rules)]


async def _form(
    request: Request, settings: SettingsDep, rules: RulesDep, store: StoreDep, reserved: ReservedDep
) -> AsyncIterator[Form]:
    unknown = () if "consent_clip" in rules else ("consent_upload_id",)
    fields = [name for name in resources.SubjectForm.model_fields if name not in unknown]
    async with parse_multipart(request, fields=fields, files=rules, store=store, folder=settings.data_dir) as form:
        yield form


@router.post(
    "",
    status_code=202,
    response_model=resources.Subject,
    summary="Make a subject from a reference video",
    responses={
        202: responses.accepted_response("the subject"),
        **problems(*responses.FORM_CODES, *responses.UPLOAD_CODES, "consent_clip_refused", "quota_exceeded"),
    },
    dependencies=[require_quota("subjects", "queued_jobs", "stored_bytes")],
    openapi_extra=responses.form(
        resources.SubjectForm,
        either=("video", "upload_id", "sample"),
        video="the person speaking, facing the camera, 8 s to 10 min",
        consent_clip="the person speaking the consent, a video with sound of 2 to 60 s: an unknown field unless `limits.consent_clip` of "
        "GET /v1/me is `optional` or `required`",
    ),
)
async def create_subject(
    caller: CallerDep,  # before the form: the body of an unauthorized request is not read
    form: Annotated[Form, Depends(_form, scope="function")],
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    turns: TurnsDep,
) -> Response:
    """Accepts the video and answers at once; two jobs follow, `preprocess` and then `train`.

    Poll the subject or its jobs. If the footage is unsuitable, `preprocess` fails with the reason and the remedy.
    """
    face = validate_json(FaceChoice, form.values.pop("face"), "face") if "face" in form.values else None
    texts = form.parse(resources.SubjectForm)
    sources = {"owner": caller.owner, "database": database, "store": store}
    sample = await _sample(form, texts, settings)

    def store_footage() -> tuple[str, subjects.StoredFootage]:
        if sample is not None:
            with sample.open("rb") as file, store.create_incoming() as copy:
                copy.copy_from(file)
                return "Sample person", subjects.store_footage(store, copy)
        video = file_or_upload(form, "video", texts.upload_id, rules["video"], **sources)
        clip = _consent_clip(form, texts, settings, rules, sources)
        return video.name, subjects.store_footage(store, video.file, clip)

    file_name, footage = await turns.store(store_footage)

    def create(session: Session) -> Response:
        row = subjects.submit_subject(
            session,
            store,
            settings,
            owner=caller.owner,
            name=texts.name or PurePath(file_name).stem.strip() or "unnamed",
            preset=texts.preset,
            audio_track=texts.audio_track,
            consent=texts.consent,
            consent_by=texts.consent_by,
            may_improve_others=texts.may_improve_others,
            face=face,
            video=footage,
        )
        subject = serializers.subject(session, row)
        headers = {"Location": subject.links.self, **serializers.retry_after(subject.jobs)}
        return idempotency.respond(session, subject, headers=headers)

    return await turns.write(create, undo=lambda: store.delete_prefix(subjects.folder(footage.subject_id)))


@router.get("", summary="List subjects, newest first", responses=problems("validation_failed"))
def list_subjects(
    caller: CallerDep,
    session: ReadSession,
    state: SubjectState | None = None,
    trash: Trash = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> base.Page[resources.Subject]:
    """A page of subjects."""
    where = removals.in_trash(Subject, trash, owner=caller.owner)
    page = queries.page(session, Subject, where, owner=caller.owner, state=state, limit=limit, cursor=cursor)
    return serializers.subjects(session, page)


@router.get("/{subject_id}", summary="Read a subject", responses=problems("not_found"))
def get_subject(subject_id: str, caller: CallerDep, response: Response, session: ReadSession) -> resources.Subject:
    """The subject with its jobs, oldest first. Poll it with If-None-Match, waiting Retry-After seconds each time."""
    subject = serializers.subject(session, queries.get(session, Subject, subject_id, owner=caller.owner))
    response.headers.update(serializers.retry_after(subject.jobs))
    return subject


@router.patch(
    "/{subject_id}",
    summary="Change a subject",
    responses=problems("precondition_failed", "not_found", "consent_withdrawn", *JSON_CODES),
)
def patch_subject(
    caller: CallerDep,
    subject_id: str,
    patch: JsonBody[resources.SubjectPatch],
    session: WriteSession,
    if_match: IfMatchDep,
) -> resources.Subject:
    """The changed subject. After a withdrawal of consent, nobody else's lips can be learnt from it any more."""
    if_match.check(lambda: _locked(session, subject_id, caller.owner))
    values = patch.model_dump(exclude_unset=True)
    return serializers.subject(session, subjects.change_subject(session, subject_id, owner=caller.owner, **values))


@router.delete(
    "/{subject_id}", status_code=204, summary="Delete a subject", responses=problems("precondition_failed", "not_found")
)
async def delete_subject(
    subject_id: str, caller: CallerDep, turns: TurnsDep, store: StoreDep, if_match: IfMatchDep
) -> None:
    """Deletes the subject, its videos and all their files. Running work on it stops within seconds."""

    def delete(session: Session) -> bool:
        if_match.check(lambda: _locked(session, subject_id, caller.owner))
        return subjects.delete_subject(session, store, subject_id, owner=caller.owner)

    deadline = time.monotonic() + DELETION_S
    left = await turns.write(delete)
    while left and time.monotonic() < deadline:
        await sleep(PAUSE_S)
        left = await turns.write(lambda session: subjects.continue_deletion(session, subject_id))


@router.head("/{subject_id}/preview", include_in_schema=False)
@router.get(
    "/{subject_id}/preview",
    summary="See a preview of a subject",
    response_class=Response,
    responses={
        200: responses.file("the newest picture", "image/jpeg"),
        304: {"description": "not changed"},
        **problems("not_found", "preview_not_ready", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
async def get_preview(
    subject_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep
) -> Response:
    """The newest preview that training has drawn."""
    key = await turns.read(
        grant(request, lambda session: subjects.subject_part(session, subject_id, "preview_key", owner=caller.owner))
    )
    return await object_response(request, turns, store, key, "image/jpeg", {"Cache-Control": "no-cache"})


@router.head("/{subject_id}/thumbnail", include_in_schema=False)
@router.get(
    "/{subject_id}/thumbnail",
    summary="See a frame of a subject's footage",
    response_class=Response,
    responses={
        200: responses.file("a small picture", "image/jpeg"),
        304: {"description": "not changed"},
        **problems("not_found", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
async def get_thumbnail(
    subject_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep
) -> Response:
    """A frame of the reference video, once it has been checked."""
    key = await turns.read(
        grant(request, lambda session: subjects.subject_part(session, subject_id, "thumbnail_key", owner=caller.owner))
    )
    return await object_response(request, turns, store, key, "image/jpeg", {"Cache-Control": "no-cache"})


@router.head("/{subject_id}/footage", include_in_schema=False)
@router.get(
    "/{subject_id}/footage",
    summary="Watch the footage of a subject",
    response_class=Response,
    responses={
        200: responses.file("the reference video as it was sent", "video/mp4"),
        206: responses.file("the requested range", "video/mp4"),
        304: {"description": "not changed"},
        **problems("not_found", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
async def get_footage(
    subject_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep
) -> Response:
    """The reference video. Its Content-Type is video/mp4 whatever it is: players look at the content."""
    key = await turns.read(
        grant(request, lambda session: subjects.subject_part(session, subject_id, "source_key", owner=caller.owner))
    )
    return await object_response(request, turns, store, key, "video/mp4", {"Cache-Control": "private, no-cache"})


@router.head("/{subject_id}/views", include_in_schema=False)
@router.get(
    "/{subject_id}/views",
    summary="See a subject from other angles",
    response_class=Response,
    responses={
        200: responses.file("one picture with a grid of views; the subject's `views` gives the layout", "image/jpeg"),
        304: {"description": "not changed"},
        **problems("not_found", "views_not_ready", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
async def get_views(subject_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep) -> Response:
    """The subject at angles between its view limits; it helps to choose the `view` of a video."""
    key = await turns.read(
        grant(request, lambda session: subjects.subject_part(session, subject_id, "views_key", owner=caller.owner))
    )
    return await object_response(request, turns, store, key, "image/jpeg", {"Cache-Control": "no-cache"})


@router.head("/{subject_id}/report", include_in_schema=False)
@router.get(
    "/{subject_id}/report",
    summary="Read the quality report of a subject",
    response_class=Response,
    responses={
        200: responses.file("a self-contained page", "text/html"),
        304: {"description": "not changed"},
        **problems("not_found", "report_not_ready", "consent_withdrawn", "object_missing", "range_not_satisfiable"),
    },
)
async def get_report(
    subject_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep
) -> Response:
    """The quality of the subject, measured on held-out footage, as a page with text, pictures and figures."""
    key = await turns.read(
        grant(request, lambda session: subjects.subject_part(session, subject_id, "report_key", owner=caller.owner))
    )
    return await object_response(request, turns, store, key, "text/html; charset=utf-8", REPORT_HEADERS)


async def _sample(form: Form, texts: resources.SubjectForm, settings: Settings) -> Path | None:
    """The sample person's footage, if the form asks for it; no clip of a consent is needed. Raises NotFound, Problem `validation_failed`."""
    if texts.sample is None:
        return None
    if form.files or texts.upload_id or texts.consent_upload_id:
        raise validation_problem("Send either `sample` or files", "sample")
    return await sample_file(settings, texts.sample)


def _consent_clip(
    form: Form,
    texts: resources.SubjectForm,
    settings: Settings,
    rules: dict[str, FileRule],
    sources: dict[str, Any],
) -> FileSource | None:
    """The clip of the spoken consent; None if there is none, and none is needed. Raises what file_or_upload raises."""
    sent = texts.consent_upload_id
    if sent is None and "consent_clip" not in form.files:
        if settings.consent_clip == "required":
            message = (
                "Field required: send a video of 2 to 60 s in which the person speaks the consent, as `consent_clip`"
            )
            raise validation_problem(message, "consent_clip")
        return None
    rule, upload_field = rules["consent_clip"], "consent_upload_id"
    return file_or_upload(form, "consent_clip", sent, rule, upload_field=upload_field, **sources).file


def _locked(session: Session, subject_id: str, owner: str) -> resources.Subject:
    return serializers.subject(session, queries.get(session, Subject, subject_id, owner=owner, for_change=True))
