"""Routes of videos: a subject saying what an audio says."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.orm import Session

from adnerf_core.config import RenderOptions
from api.auth import CallerDep
from api.deps import Cursor, DatabaseDep, Limit, ReadSession, SettingsDep, StoreDep, TurnsDep, WriteSession
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import from_validation, validation_problem
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import IdempotencyDep, ReservedDep
from api.requests.if_match import IfMatchDep
from api.requests.json_body import parse_json, validate_json
from api.requests.multipart import FileRule, Form, ReceivedFile, parse_multipart
from api.requests.quota_precheck import require_quota
from api.responses import serializers
from api.responses.byte_ranges import file_response, not_modified
from api.schemas import resources
from api.schemas.one_line import visible_line
from api.services import videos
from storage.database import queries
from storage.database.engine import Database
from storage.database.models import Video, VideoState
from storage.objects.base import ObjectStore

router = APIRouter(prefix="/v1/videos", tags=["videos"])

MEDIA_TYPES = {"mp4": "video/mp4", "webm": "video/webm"}


def _rules(settings: SettingsDep) -> dict[str, FileRule]:
    return {
        "audio": FileRule(settings.max_audio_bytes, file_type.require_media),
        "background": FileRule(settings.max_image_bytes, file_type.require_image),
    }


RulesDep = Annotated[dict[str, FileRule], Depends(_rules)]


async def _form(
    request: Request, settings: SettingsDep, rules: RulesDep, store: StoreDep, reserved: ReservedDep
) -> AsyncIterator[Form]:
    fields = resources.VideoForm.model_fields
    async with parse_multipart(request, fields=fields, files=rules, store=store, folder=settings.data_dir) as form:
        yield form


@router.post(
    "",
    status_code=202,
    response_model=resources.Video,
    summary="Make a video from a subject and an audio, or without speech",
    responses={
        202: responses.accepted_response("the video"),
        **problems(
            *responses.FORM_CODES,
            *responses.UPLOAD_CODES,
            "not_an_image",
            "subject_not_ready",
            "full_frame_unavailable",
            "consent_withdrawn",
            "quota_exceeded",
        ),
    },
    dependencies=[require_quota("queued_jobs", "daily_seconds", "stored_bytes")],
    openapi_extra=responses.form(
        resources.VideoForm,
        either=("audio", "upload_id", "duration_s"),
        audio="the speech, at least 0.3 s",
        background="picture behind the person (PNG, JPEG or WebP), for background kind `image`",
    ),
)
async def create_video(
    caller: CallerDep,  # before the form: the body of an unauthorized request is not read
    form: Annotated[Form, Depends(_form, scope="function")],
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    turns: TurnsDep,
) -> Response:
    """Accepts the audio and answers at once; one job follows, `render`. Poll the video or its job."""
    options = _options(form)
    texts = form.parse(resources.VideoForm)
    _check_sources(form, texts)  # before the subject's state: a request that is wrong by itself is 422
    picture = form.files.get("background")

    def store_speech() -> videos.StoredSpeech:
        with database.session(write=False) as session:
            videos.speaking_subject(session, texts.subject_id, options, owner=caller.owner)
        audio = _audio(form, texts, rules, owner=caller.owner, database=database, store=store)
        files = [None if each is None else each.file for each in (audio, picture)]
        return videos.store_speech(store, texts.subject_id, *files)

    speech = await turns.store(store_speech)

    def create(session: Session) -> Response:
        row = videos.submit_video(
            session,
            store,
            settings,
            owner=caller.owner,
            subject_id=texts.subject_id,
            options=options,
            audio=speech,
            idle_s=texts.duration_s,
        )
        video = serializers.video(session, row)
        headers = {"Location": video.links.self, **serializers.retry_after([video.job])}
        return idempotency.respond(session, video, headers=headers)

    return await turns.write(create)


def _check_sources(form: Form, texts: resources.VideoForm) -> None:
    """Raises Problem `validation_failed` unless there is one of the file `audio`, `upload_id` and `duration_s`."""
    has_file, has_upload = "audio" in form.files, texts.upload_id is not None
    if texts.duration_s is None and not (has_file or has_upload):
        message = (
            "Send the speech, as the file `audio` or as `upload_id`, or send `duration_s` for a video without speech"
        )
        raise validation_problem(message, "audio")
    if texts.duration_s is not None and (has_file or has_upload):
        raise validation_problem("Send either speech or `duration_s`: the video is as long as its speech", "duration_s")
    if has_file and has_upload:
        raise validation_problem("Send either `audio` or `upload_id`", "upload_id")


def _audio(
    form: Form,
    texts: resources.VideoForm,
    rules: dict[str, FileRule],
    *,
    owner: str,
    database: Database,
    store: ObjectStore,
) -> ReceivedFile | None:
    """The speech: the file `audio`, or an upload; None if there is `duration_s` in its place. Raises as file_or_upload does."""
    if texts.duration_s is not None:
        return None
    return file_or_upload(form, "audio", texts.upload_id, rules["audio"], owner=owner, database=database, store=store)


def _options(form: Form) -> RenderOptions:
    """The field `options`. If a picture is sent and the options do not mention the background, its kind becomes `image`."""
    has_picture = "background" in form.files
    text = form.values.pop("options", "{}")
    if has_picture and isinstance(value := parse_json(text, "options"), dict):
        text = json.dumps({"background": {"kind": "image"}} | value)
    options = validate_json(RenderOptions, text, "options")
    if isinstance(options.label, str):
        try:
            visible_line(options.label)
        except ValueError as error:
            raise from_validation([{"loc": ("label",), "msg": str(error)}], "options") from error
    if has_picture != (options.background.kind == "image"):
        required = "Field required with background kind `image`"
        raise validation_problem("Only allowed with background kind `image`" if has_picture else required, "background")
    return options


@router.get("", summary="List videos, newest first", responses=problems("validation_failed"))
def list_videos(
    caller: CallerDep,
    session: ReadSession,
    state: VideoState | None = None,
    subject_id: str | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> resources.Page[resources.Video]:
    """A page of videos."""
    page = queries.page(
        session, Video, owner=caller.owner, state=state, subject_id=subject_id, limit=limit, cursor=cursor
    )
    return serializers.videos(session, page)


@router.get("/{video_id}", summary="Read a video", responses=problems("not_found"))
def get_video(video_id: str, caller: CallerDep, response: Response, session: ReadSession) -> resources.Video:
    """The video with its job. Poll it with If-None-Match, waiting Retry-After seconds each time."""
    video = serializers.video(session, queries.get(session, Video, video_id, owner=caller.owner))
    response.headers.update(serializers.retry_after([video.job]))
    return video


@router.delete(
    "/{video_id}", status_code=204, summary="Delete a video", responses=problems("precondition_failed", "not_found")
)
def delete_video(
    video_id: str, caller: CallerDep, session: WriteSession, store: StoreDep, if_match: IfMatchDep
) -> None:
    """Deletes the video and its files. Running work on it stops within seconds."""
    if_match.check(
        lambda: serializers.video(session, queries.get(session, Video, video_id, owner=caller.owner, for_change=True))
    )
    videos.delete_video(session, store, video_id, owner=caller.owner)


@router.head("/{video_id}/file", include_in_schema=False)
@router.get(
    "/{video_id}/file",
    summary="Download a video",
    response_class=Response,
    responses={
        200: responses.file("the whole file", *MEDIA_TYPES.values()),
        206: responses.file("the requested range", *MEDIA_TYPES.values()),
        304: {"description": "not changed"},
        307: {"description": "the file is at the address in Location"},
        **problems(
            "validation_failed",
            "not_found",
            "video_not_ready",
            "consent_withdrawn",
            "object_missing",
            "range_not_satisfiable",
        ),
    },
)
async def get_file(
    video_id: str,
    request: Request,
    caller: CallerDep,
    turns: TurnsDep,
    store: StoreDep,
    name: Annotated[str | None, Query(max_length=200, description="file name for the download")] = None,
) -> Response:
    """The MP4 or WebM. Supports `Range` (one range), `If-Range` and `If-None-Match`; the `ETag` is the file's SHA-256.

    If the object store can sign links, the answer is a redirect to a link that is valid for a limited time.
    """
    video = await turns.read(lambda session: videos.video_file(session, video_id, owner=caller.owner))
    kind = video.options["format"]
    plain, etag, media_type = f"{video_id}.{kind}", f'"{video.sha256}"', MEDIA_TYPES[kind]
    disposition = f'attachment; filename="{plain}"' + (f"; filename*=UTF-8''{quote(name, safe='')}" if name else "")
    if request.method == "GET" and not not_modified(request, etag):
        link = store.link(video.file_key, name=name or plain, media_type=media_type)
        if link is not None:
            return RedirectResponse(link, status_code=307, headers={"Cache-Control": "no-store"})
    return file_response(
        request,
        await turns.open(lambda: store.open(video.file_key)),
        video.size_bytes,
        etag=etag,
        media_type=media_type,
        headers={"Content-Disposition": disposition, "Cache-Control": "private, no-cache"},
        read=turns.open,
    )
