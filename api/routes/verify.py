"""Routes of verification: was this video made here? A worker inspects the file; this process waits a few seconds for the result."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from threading import BoundedSemaphore
from typing import Annotated

from anyio import sleep, to_thread
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import DatabaseDep, ReadSession, SettingsDep, StoreDep, TurnsDep
from api.middleware.request_shares import RequestShares
from api.openapi import responses
from api.openapi.responses import problems
from api.problems.problems import Problem
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import Idempotency, IdempotencyDep, ReservedDep
from api.requests.multipart import FileRule, Form, parse_multipart
from api.requests.quota_precheck import require_quota
from api.schemas.verifications import (
    CredentialsFound,
    MadeVideo,
    MarkFound,
    Verification,
    VerificationLinks,
    VerifyForm,
)
from api.services import verifications
from storage.database import models, queries
from storage.database.engine import Database

router = APIRouter(prefix="/v1", tags=["verify"])

WAIT_S = 10.0
"""Seconds that a request waits for its result before it is answered with 202. Most files take less; a longer wait might exceed the
timeouts of proxies."""
POLL_S = 0.25
"""Seconds between two checks for the result."""
WAITING = 8
"""Requests that may wait, two of an owner: each reads the database several times a second. Further ones get 202 at once."""
_waiting, _waiting_of_owner = BoundedSemaphore(WAITING), RequestShares(WAITING)


def _rules(settings: SettingsDep) -> dict[str, FileRule]:
    return {"file": FileRule(settings.max_video_bytes, file_type.require_media)}


RulesDep = Annotated[dict[str, FileRule], Depends(_rules)]


async def _form(
    request: Request, settings: SettingsDep, rules: RulesDep, store: StoreDep, caller: CallerDep, reserved: ReservedDep
) -> AsyncIterator[Form]:
    fields = VerifyForm.model_fields
    with request.app.state.verifying.take(caller.owner):
        async with parse_multipart(request, fields=fields, files=rules, store=store, folder=settings.data_dir) as form:
            yield form


@router.post(
    "/verify",
    response_model=Verification,
    summary="Ask whether a video was made here",
    responses={
        202: responses.accepted_response("the answer will be") | {"model": Verification},
        **problems(*responses.FORM_CODES, *responses.UPLOAD_CODES, "quota_exceeded"),
    },
    dependencies=[require_quota("verifications")],
    openapi_extra=responses.form(VerifyForm, either=("file", "upload_id"), file="the video"),
)
async def create_verification(
    caller: CallerDep,  # before the form: the body of an unauthorized request is not read
    form: Annotated[Form, Depends(_form, scope="function")],
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
    turns: TurnsDep,
) -> Response:
    """The result, if it is ready within seconds (200), else where it will be (202). The file is deleted after the check.

    An owner may have as many of these requests in progress as verifications pending; further ones get 429 with Retry-After.

    Two independent checks are made: the signed content credentials in the file, and the invisible watermark in the frames,
    which survives cutting, scaling and re-encoding.
    """
    texts = form.parse(VerifyForm)
    sources = {"owner": caller.owner, "database": database, "store": store}

    def store_video() -> verifications.StoredVideo:
        return verifications.store_video(
            store, file_or_upload(form, "file", texts.upload_id, rules["file"], **sources).file
        )

    video = await turns.store(store_video)

    def create(session: Session) -> str:
        row = verifications.submit_verification(session, store, settings, owner=caller.owner, video=video)
        _respond(idempotency, session, _present(session, row, caller.owner))  # stored in case this process dies
        return row.id

    verification_id = await turns.write(create, undo=lambda: store.delete(video.stored.key))
    await _wait(database, verification_id, caller.owner)

    def respond(session: Session) -> Response:
        row = queries.get(session, models.Verification, verification_id, owner=caller.owner)
        return _respond(idempotency, session, _present(session, row, caller.owner))  # replaces the stored response

    return await turns.write(respond)


@router.get("/verifications/{verification_id}", summary="Read a verification", responses=problems("not_found"))
def get_verification(verification_id: str, response: Response, caller: CallerDep, session: ReadSession) -> Verification:
    """The verification, finished or not. It can be read for a day."""
    row = queries.get(session, models.Verification, verification_id, owner=caller.owner)
    verification = _present(session, row, caller.owner)
    response.headers.update(_retry_after(verification))
    return verification


async def _wait(database: Database, verification_id: str, owner: str) -> None:
    """Waits up to WAIT_S for the verification to finish; does not wait if too many other requests do."""

    def has_finished() -> bool:
        with database.session(write=False) as session:
            return queries.get(session, models.Verification, verification_id, owner=owner).finished_at is not None

    with ExitStack() as place:
        try:
            place.enter_context(_waiting_of_owner.take(owner))
        except Problem:
            return
        if not _waiting.acquire(blocking=False):
            return
        place.callback(_waiting.release)
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if await to_thread.run_sync(has_finished):
                return
            await sleep(POLL_S)


def _respond(idempotency: Idempotency, session: Session, verification: Verification) -> Response:
    status = 200 if verification.finished_at else 202
    headers = {"Location": verification.links.self, **_retry_after(verification)}
    return idempotency.respond(session, verification, status=status, headers=headers)


def _retry_after(verification: Verification) -> dict[str, str]:
    return {} if verification.finished_at else {"Retry-After": "2"}


def _present(session: Session, row: models.Verification, owner: str) -> Verification:
    """A verification as `owner` may see it: only the owner of the video learns which video it is."""
    findings = row.findings or {}
    credentials, mark = findings.get("credentials"), findings.get("mark")
    video = verifications.made_video(session, row, owner=owner)
    succeeded = row.state == "succeeded"
    made_here = succeeded and (credentials["ours"] or mark is not None)
    return Verification(
        id=row.id,
        state=row.state,
        made_here=made_here if succeeded else None,
        made_at=findings.get("made_at") if made_here else None,
        credentials=CredentialsFound.model_validate(credentials) if succeeded else None,
        mark=_mark(mark, video) if succeeded else None,
        video=video and _made_video(video),
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
        links=VerificationLinks(self=f"/v1/verifications/{row.id}"),
    )


def _mark(mark: dict | None, video: models.Video | None) -> MarkFound:
    if mark is None:
        return MarkFound(found=False, score=None, false_alarm=None, video_id=None)
    video_id = video.id if video is not None and video.id == mark["video_id"] else None
    return MarkFound(found=True, score=mark["score"], false_alarm=mark["false_alarm"], video_id=video_id)


def _made_video(video: models.Video) -> MadeVideo:
    links = {"self": f"/v1/videos/{video.id}", "subject": f"/v1/subjects/{video.subject_id}"}
    return MadeVideo(id=video.id, subject_id=video.subject_id, created_at=video.created_at, links=links)
