"""Verifying: was this video made here? A worker looks into the file; this process only asks and waits a little."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from threading import BoundedSemaphore
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import DatabaseDep, ReadSession, SettingsDep, StoreDep
from api.openapi import responses
from api.openapi.responses import problems
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
"""How long a request waits for its answer."""
POLL_S = 0.25
"""Time between looks for it."""
_waiting = BoundedSemaphore(8)
"""Each request that waits holds a thread of this process; those beyond are told to ask again."""


def _rules(settings: SettingsDep) -> dict[str, FileRule]:
    return {"file": FileRule(settings.max_video_bytes, file_type.require_media)}


RulesDep = Annotated[dict[str, FileRule], Depends(_rules)]


async def _form(request: Request, settings: SettingsDep, rules: RulesDep, reserved: ReservedDep) -> AsyncIterator[Form]:
    async with parse_multipart(request, fields=VerifyForm.model_fields, files=rules, folder=settings.data_dir) as form:
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
    idempotency: IdempotencyDep,
    rules: RulesDep,
    settings: SettingsDep,
    store: StoreDep,
    database: DatabaseDep,
) -> Response:
    """The answer, mostly within seconds (200); else where it will be (202). The file is kept for no longer than that takes.

    Two ways that do not depend on each other: the signed content credentials in the file, and the invisible mark in the
    pictures, which stays when a file is cut, scaled or coded anew.
    """
    texts = form.parse(VerifyForm)
    sources = {"owner": caller.owner, "database": database, "store": store}
    with (
        file_or_upload(form, "file", texts.upload_id, rules["file"], **sources) as video,
        database.session() as session,
    ):
        row = verifications.submit_verification(
            session, store, settings, owner=caller.owner, video=video.file, upload_id=texts.upload_id
        )
        response = _respond(idempotency, session, _present(session, row, caller.owner))
    if not _finished_in_time(database, row.id, caller.owner):
        return response
    with database.session(write=False) as session:
        row = queries.get(session, models.Verification, row.id, owner=caller.owner)
        verification = _present(session, row, caller.owner)
    return _respond(idempotency, None, verification)


@router.get("/verifications/{verification_id}", summary="Read a verification", responses=problems("not_found"))
def get_verification(verification_id: str, response: Response, caller: CallerDep, session: ReadSession) -> Verification:
    """The answer, or that it is still looked for. It can be read for a day."""
    answer = _present(
        session, queries.get(session, models.Verification, verification_id, owner=caller.owner), caller.owner
    )
    response.headers.update(_retry_after(answer))
    return answer


def _finished_in_time(database: Database, verification_id: str, owner: str) -> bool:
    """Waits up to WAIT_S for the verification to finish; does not wait if too many other requests do."""
    if not _waiting.acquire(blocking=False):
        return False
    try:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            with database.session(write=False) as session:
                if queries.get(session, models.Verification, verification_id, owner=owner).finished_at is not None:
                    return True
            time.sleep(POLL_S)
        return False
    finally:
        _waiting.release()


def _respond(idempotency: Idempotency, session: Session | None, verification: Verification) -> Response:
    status = 200 if verification.finished_at else 202
    headers = {"Location": verification.links.self, **_retry_after(verification)}
    return idempotency.respond(session, verification, status=status, headers=headers)


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
