"""Routes that make videos: one from a form or from JSON, or many at once from JSON."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json
from python_multipart.multipart import parse_options_header
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import DatabaseDep, SettingsDep, StoreDep, TurnsDep
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import Problem, from_storage, validation_problem
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import IdempotencyDep, ReservedDep
from api.requests.json_body import parse_json, read_json, validate_json
from api.requests.multipart import FileRule, Form, ReceivedFile, parse_multipart
from api.requests.quota_precheck import require_quota
from api.requests.render_options import checked_options, options_of_form
from api.responses import serializers
from api.schemas import resources
from api.schemas.problem_details import ProblemDetails
from api.schemas.video_requests import BatchItem, BatchResult, VideoBatch, VideoForm, wrong_source
from api.services import videos
from storage.database.engine import Database, savepoint
from storage.errors import ServiceFault, StorageError, UploadUsed
from storage.objects.base import ObjectStore

router = APIRouter(prefix="/v1/videos", tags=["videos"])

BATCH_BYTES = 2 << 20
"""Bytes of a batch: a hundred of the longest scripts have half as many. It is parsed outside the event loop."""
BATCH_VALUES = 20_000
"""JSON values of a batch: a hundred requests with all options and all metadata have half as many."""

CODES = (
    *responses.FORM_CODES,
    *responses.UPLOAD_CODES,
    "not_an_image",
    "subject_not_ready",
    "full_frame_unavailable",
    "voice_unavailable",
    "consent_withdrawn",
    "in_trash",
    "quota_exceeded",
)
"""Problem codes of a request for a video."""


class Body(NamedTuple):
    """What a request has sent: a form, which is empty if it is the bytes `json`."""

    form: Form
    json: bytes | None = None


class Order(NamedTuple):
    """A request that is right by itself, and the files that the request for it stored."""

    texts: VideoForm
    speech: videos.StoredSpeech


def _rules(settings: SettingsDep) -> dict[str, FileRule]:
    return {
        "audio": FileRule(settings.max_audio_bytes, file_type.require_media),
        "background": FileRule(settings.max_image_bytes, file_type.require_image),
    }


RulesDep = Annotated[dict[str, FileRule], Depends(_rules)]


async def _body(
    request: Request, settings: SettingsDep, rules: RulesDep, store: StoreDep, reserved: ReservedDep
) -> AsyncIterator[Body]:
    media_type, _ = parse_options_header(request.headers.get("content-type"))
    if media_type == b"application/json":
        yield Body(Form(), await read_json(request))
        return
    fields = VideoForm.model_fields
    async with parse_multipart(request, fields=fields, files=rules, store=store, folder=settings.data_dir) as form:
        yield Body(form)


async def _batch(request: Request, reserved: ReservedDep) -> AsyncIterator[bytes]:
    yield await read_json(request, BATCH_BYTES)


@router.post(
    "",
    status_code=202,
    response_model=resources.Video,
    summary="Make a video from a subject and an audio or a script, or without speech",
    responses={202: responses.accepted_response("the video"), **problems(*CODES)},
    dependencies=[require_quota("videos", "queued_jobs", "daily_seconds", "stored_bytes")],
    openapi_extra=responses.form(
        VideoForm,
        either=("audio", "upload_id", "duration_s", "script"),
        json=True,
        audio="the speech, at least 0.3 s",
        background="picture behind the person (PNG, JPEG or WebP), for background kind `image`",
    ),
)
async def create_video(
    caller: CallerDep,  # before the body: that of an unauthorized request is not read
    body: Annotated[Body, Depends(_body, scope="function")],
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    turns: TurnsDep,
) -> Response:
    """Accepts the audio or the script and answers at once; one job follows, `render`. Poll the video or its job."""
    form = body.form
    texts = _of_form(form) if body.json is None else _of_json(parse_json(body.json))

    def prepare() -> Order:
        return _prepare(texts, form, rules, owner=caller.owner, database=database, store=store)

    order = await turns.store(prepare)

    def create(session: Session) -> Response:
        video = _create(session, order, owner=caller.owner, settings=settings, store=store)
        headers = {"Location": video.links.self, **serializers.retry_after([video.job])}
        return idempotency.respond(session, video, headers=headers)

    place = videos.folder(texts.subject_id, order.speech.video_id)
    return await turns.write(create, undo=lambda: store.delete_prefix(place))


@router.post(
    "/batch",
    response_model=BatchResult,
    summary="Make many videos at once",
    responses=problems(*responses.JSON_CODES, "quota_exceeded", "store_away", "disk_full"),
    dependencies=[require_quota("videos", "queued_jobs", "daily_seconds", "stored_bytes")],
    openapi_extra=responses.json_body(VideoBatch),
)
async def create_batch(
    caller: CallerDep,
    body: Annotated[bytes, Depends(_batch, scope="function")],
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    turns: TurnsDep,
) -> Response:
    """Each request is carried out or refused by itself; those that are carried out are written in one transaction.

    Files are sent as uploads before. With an Idempotency-Key the whole batch is carried out once.
    """

    # A second copy of an upload, as large as it is, would be made before the transaction refuses it.
    uploads_used: set[str] = set()

    def prepare(value: Any) -> Order | Problem:
        try:
            texts = _of_json(value)
            if texts.upload_id in uploads_used:
                raise UploadUsed(f"An earlier request of this batch uses upload {texts.upload_id}.")
            order = _prepare(texts, Form(), rules, owner=caller.owner, database=database, store=store)
            if texts.upload_id is not None:
                uploads_used.add(texts.upload_id)
            return order
        except Problem as problem:
            return problem
        except StorageError as error:
            return from_storage(error)

    def prepare_all() -> list[Order | Problem]:
        batch = validate_json(VideoBatch, body, limit=BATCH_BYTES, values=BATCH_VALUES)
        return [prepare(each) for each in batch.videos]

    def create(session: Session) -> Response:
        items = [_item(session, order, owner=caller.owner, settings=settings, store=store) for order in orders]
        return idempotency.respond(session, BatchResult(items=items))

    def undo() -> None:
        for order in orders:
            if isinstance(order, Order):
                store.delete_prefix(videos.folder(order.texts.subject_id, order.speech.video_id))

    async with turns.batch():
        orders = await turns.store(prepare_all)
        return await turns.write(create, undo=undo)


def _item(session: Session, order: Order | Problem, **context: Any) -> BatchItem:
    """Carries out one request of a batch; the others are not touched if it is refused."""
    if not isinstance(order, Problem):
        try:
            with savepoint(session):
                return BatchItem(status=202, video=_create(session, order, **context), problem=None)
        except ServiceFault:
            raise
        except StorageError as error:
            order = from_storage(error)
    return BatchItem(status=order.status_code, video=None, problem=ProblemDetails(**order.body()))


def _prepare(
    texts: VideoForm, form: Form, rules: dict[str, FileRule], *, owner: str, database: Database, store: ObjectStore
) -> Order:
    """Checks a request against its subject and its voice, and stores its files.

    Raises Problem, or StorageError as the functions of api/services/videos.py do.
    """
    if wrong := wrong_source(texts, audio="audio" in form.files):  # before the subject's state: it is wrong by itself
        raise validation_problem(*wrong)
    with database.session(write=False) as session:
        videos.speaking_subject(session, texts.subject_id, texts.options, owner=owner)
        if texts.script is not None:
            texts = texts.model_copy(update={"voice": videos.voice_of(session, texts.voice)})
    audio: ReceivedFile | None = None
    if texts.duration_s is None and texts.script is None:
        audio = file_or_upload(
            form, "audio", texts.upload_id, rules["audio"], owner=owner, database=database, store=store
        )
    files = [None if each is None else each.file for each in (audio, form.files.get("background"))]
    return Order(texts, videos.store_speech(store, texts.subject_id, *files))


def _create(
    session: Session, order: Order, *, owner: str, settings: SettingsDep, store: ObjectStore
) -> resources.Video:
    texts = order.texts
    script = None
    if texts.script is not None:
        script = videos.Script(texts.script, texts.voice, texts.speed or 1.0)
    row = videos.submit_video(
        session,
        store,
        settings,
        owner=owner,
        subject_id=texts.subject_id,
        options=texts.options,
        audio=order.speech,
        idle_s=texts.duration_s,
        script=script,
        title=texts.title,
        metadata=texts.metadata,
        priority=texts.priority,
    )
    return serializers.video(session, row)


def _of_form(form: Form) -> VideoForm:
    options = options_of_form(form)
    if "metadata" in form.values:
        form.values["metadata"] = parse_json(form.values["metadata"], "metadata")
    return form.parse(VideoForm).model_copy(update={"options": options})


def _of_json(value: Any) -> VideoForm:
    texts = validate_json(VideoForm, to_json(value))
    checked_options(texts.options, has_picture=False)
    return texts
