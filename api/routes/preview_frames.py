"""The route of preview frames: one frame, rendered by a worker within seconds, as a video with the same options will show it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from anyio import sleep
from fastapi import APIRouter, Depends, Request, Response
from python_multipart.multipart import parse_options_header
from sqlalchemy.orm import Session

from adnerf_core.config import RenderOptions
from api.auth import CallerDep
from api.deps import SettingsDep, StoreDep, Turns, TurnsDep
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import Problem
from api.requests import file_type
from api.requests.idempotency import IdempotencyDep, ReservedDep
from api.requests.json_body import read_json, validate_json
from api.requests.multipart import FileRule, parse_multipart
from api.requests.render_options import checked_options, options_of_form
from api.schemas import pictures
from api.services import preview_frames, videos
from storage.database.models import PreviewFrame
from storage.tables.uploads import FileSource

router = APIRouter(prefix="/v1/subjects/{subject_id}", tags=["subjects"])

BACKGROUND_BYTES = 4 << 20
"""Largest background picture of a preview frame: it is kept until the frame is rendered, and 1920 px need less."""
WAIT_S = 5.0
"""Seconds that a request waits for its frame before it is answered with 202: on two cores a frame takes one to three."""
POLL_S = 0.1
"""Seconds between two looks for the frame."""
WAITING, WAITING_OF_OWNER = 8, 3
"""Most requests that wait, together and of one owner: each reads the database several times a second. Further ones get 202 at once."""
_waiting: Counter[str] = Counter()
"""The requests that wait, by owner."""
RULES = {"background": FileRule(BACKGROUND_BYTES, file_type.require_image)}


class _Order:
    """What a request asks for: the options, and the background picture."""

    def __init__(self, options: RenderOptions, background: FileSource | None = None):
        self.options, self.background = options, background


async def _order(
    request: Request, settings: SettingsDep, store: StoreDep, reserved: ReservedDep
) -> AsyncIterator[_Order]:
    media_type, _ = parse_options_header(request.headers.get("content-type"))
    if media_type == b"application/json":
        options = validate_json(pictures.PreviewFrameForm, await read_json(request)).options
        yield _Order(checked_options(options, has_picture=False))
        return
    fields = pictures.PreviewFrameForm.model_fields
    async with parse_multipart(request, fields=fields, files=RULES, store=store, folder=settings.data_dir) as form:
        picture = form.files.get("background")
        yield _Order(options_of_form(form), picture and picture.file)


@router.post(
    "/preview-frame",
    summary="See a frame as a video will show it",
    response_class=Response,
    responses={
        200: responses.file("the frame, with a longest edge of at most 960 px", "image/jpeg"),
        202: responses.response_with_headers(
            "the frame is being rendered: send the same request again", **{"Retry-After": "seconds to wait before"}
        )
        | {"model": pictures.PreviewPending},
        **problems(
            *responses.FORM_CODES,
            "not_found",
            "not_an_image",
            "subject_not_ready",
            "full_frame_unavailable",
            "consent_withdrawn",
            "in_trash",
            "preview_failed",
        ),
    },
    openapi_extra=responses.form(
        pictures.PreviewFrameForm,
        json=True,
        background="picture behind the person (PNG, JPEG or WebP), for background kind `image`; at most 4 MiB",
    ),
)
async def create_preview_frame(
    subject_id: str,
    caller: CallerDep,  # before the body: that of an unauthorized request is not read
    order: Annotated[_Order, Depends(_order, scope="function")],
    idempotency: IdempotencyDep,  # nothing is stored for it: equal requests get the same frame anyway
    turns: TurnsDep,
    store: StoreDep,
) -> Response:
    """The frame as soon as a worker has rendered it, mouth closed, or 202 after some seconds. It waits behind no job.

    Equal requests get the same picture for an hour after the last one. A new request replaces older ones that wait.
    """

    background, undo = None, None
    if (picture := order.background) is not None:
        of_subject = partial(videos.speaking_subject, subject_id=subject_id, options=order.options, owner=caller.owner)
        await turns.read(of_subject)
        background = await turns.store(lambda: preview_frames.store_background(store, subject_id, picture))
        undo = partial(store.delete, background.key)

    def ask(session: Session) -> PreviewFrame:
        wanted = subject_id, order.options
        return preview_frames.ask(session, store, *wanted, owner=caller.owner, background=background)

    frame = await _wait(turns, await turns.write(ask, undo=undo))
    if frame is not None and frame.state == "failed":
        await turns.write(lambda session: preview_frames.forget(session, frame.digest))
        raise Problem("preview_failed", frame.error["message"], remedy=frame.error["remedy"])
    if frame is None or frame.picture is None:
        pending = pictures.PreviewPending(state="queued" if frame is None else frame.state)
        return Response(pending.model_dump_json(), 202, {"Retry-After": "1"}, media_type="application/json")
    headers = {"Cache-Control": "private, no-store"}
    return Response(frame.picture, media_type="image/jpeg", headers=headers)


async def _wait(turns: Turns, frame: PreviewFrame) -> PreviewFrame | None:
    """Waits up to WAIT_S for the frame; does not wait if too many other requests do. None: a newer request replaced it."""
    owner = frame.owner
    crowded = _waiting.total() >= WAITING or _waiting[owner] >= WAITING_OF_OWNER
    if frame.state in ("succeeded", "failed") or crowded:
        return frame
    _waiting[owner] += 1
    try:
        deadline, digest = time.monotonic() + WAIT_S, frame.digest
        while frame is not None and frame.state in ("queued", "running") and time.monotonic() < deadline:
            await sleep(POLL_S)
            frame = await turns.read(lambda session: preview_frames.find(session, digest))
        return frame
    finally:
        _waiting[owner] -= 1
        if not _waiting[owner]:
            del _waiting[owner]
