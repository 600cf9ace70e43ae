"""Verifying: was this video made here? A worker looks into the file; this process only asks and waits a little."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import DatabaseDep, Reading, SettingsDep, StoreDep
from api.openapi import responses
from api.openapi.responses import problems
from api.requests import file_type
from api.requests.file_source import file_or_upload
from api.requests.idempotency import IdempotentRoute, store_response
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
from storage.database import models
from storage.database.engine import Database
from storage.settings import Settings

router = APIRouter(prefix="/v1", tags=["verify"], route_class=IdempotentRoute)

WAIT_S = 10.0
"""How long a request waits for its answer."""
LOOK_S = 0.25
"""Time between looks for it."""
_waiting = BoundedSemaphore(8)
"""Each request that waits holds a thread of this process; those beyond are told to ask again."""


def _rules(settings: Settings) -> dict[str, FileRule]:
    return {"file": FileRule(settings.max_video_bytes, file_type.require_media)}


async def _form(request: Request, settings: SettingsDep, store: StoreDep) -> AsyncIterator[Form]:
    files = _rules(settings)
    fields = VerifyForm.model_fields
    async with parse_multipart(request, fields=fields, files=files, store=store, folder=settings.data_dir) as form:
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
    openapi_extra=responses.form(VerifyForm, either=("file", "upload_id"), file="the video, as it was found"),
)
def create_verification(
    caller: CallerDep,  # first: nobody's body is read before
    form: Annotated[Form, Depends(_form, scope="function")],
    request: Request,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
) -> Response:
    """The answer, mostly within seconds (200); else where it will be (202). The file is kept for no longer than that takes.

    Two ways that do not depend on each other: the signed content credentials in the file, and the invisible mark in the
    pictures, which stays when a file is cut, scaled or coded anew.
    """
    texts = form.parse(VerifyForm)
    rule, sources = _rules(settings)["file"], {"owner": caller.owner, "database": database, "store": store}
    video = file_or_upload(form, "file", texts.upload_id, rule, **sources)
    with database.session() as session:
        row = verifications.submit_verification(session, store, settings, owner=caller.owner, video=video.file)
        store_response(request, session, _response(_present(session, row, caller.owner)))
    _wait(database, row.id, caller.owner)
    with database.session(write=False) as session:
        answer = _present(session, verifications.get_verification(session, row.id, owner=caller.owner), caller.owner)
    return _response(answer)


@router.get("/verifications/{verification_id}", summary="Read a verification", responses=problems("not_found"))
def get_verification(verification_id: str, response: Response, caller: CallerDep, session: Reading) -> Verification:
    """The answer, or that it is still looked for. It can be read for a day."""
    answer = _present(
        session, verifications.get_verification(session, verification_id, owner=caller.owner), caller.owner
    )
    response.headers.update(_retry_after(answer))
    return answer


def _wait(database: Database, verification_id: str, owner: str) -> None:
    """Returns when there is an answer, when WAIT_S are over, or at once where too many wait already."""
    if not _waiting.acquire(blocking=False):
        return
    try:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with database.session(write=False) as session:
                if verifications.get_verification(session, verification_id, owner=owner).finished_at is not None:
                    return
            time.sleep(LOOK_S)
    finally:
        _waiting.release()


def _response(answer: Verification) -> Response:
    status = 200 if answer.finished_at else 202
    return JSONResponse(
        answer.model_dump(mode="json"), status, headers={"Location": answer.links.self, **_retry_after(answer)}
    )


def _retry_after(answer: Verification) -> dict[str, str]:
    return {} if answer.finished_at else {"Retry-After": "2"}


def _present(session: Session, row: models.Verification, owner: str) -> Verification:
    """A verification, as this owner may see it: which video it is, is told to the video's owner only."""
    findings = row.findings or {}
    credentials, mark = findings.get("credentials"), findings.get("mark")
    made = verifications.made_video(session, row, owner=owner)
    done = row.state == "succeeded"
    here = done and (credentials["ours"] or mark is not None)
    return Verification(
        id=row.id,
        state=row.state,
        made_here=here if done else None,
        made_at=findings.get("made_at") if here else None,
        credentials=CredentialsFound.model_validate(credentials) if done else None,
        mark=_mark(mark, made) if done else None,
        video=made and _made(made),
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
        links=VerificationLinks(self=f"/v1/verifications/{row.id}"),
    )


def _mark(found: dict | None, made: models.Video | None) -> MarkFound:
    if found is None:
        return MarkFound(found=False, score=None, false_alarm=None, video_id=None)
    own = made is not None and made.id == found["video_id"]
    return MarkFound(
        found=True, score=found["score"], false_alarm=found["false_alarm"], video_id=made.id if own else None
    )


def _made(video: models.Video) -> MadeVideo:
    links = {"self": f"/v1/videos/{video.id}", "subject": f"/v1/subjects/{video.subject_id}"}
    return MadeVideo(id=video.id, subject_id=video.subject_id, created_at=video.created_at, links=links)
