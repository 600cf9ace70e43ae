"""Routes of consent: reading the record and withdrawing it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep, grant
from api.deps import ReadSession, StoreDep, TurnsDep
from api.openapi import responses
from api.openapi.responses import JSON_CODES, problems
from api.requests.idempotency import IdempotencyDep
from api.requests.json_body import JsonBody
from api.responses import serializers
from api.routes.stored_object import object_response
from api.schemas import resources
from api.services import consent_clips, consents
from storage.database import queries
from storage.database.models import Subject

router = APIRouter(prefix="/v1/subjects/{subject_id}", tags=["subjects"])


@router.get("/consent", summary="Read the record of consent", responses=problems("not_found"))
def get_consent(subject_id: str, caller: CallerDep, session: ReadSession) -> resources.Consent:
    """Who agreed to be shown, to what, when, and with which footage. The record exists as long as the subject does."""
    return serializers.consent(queries.get(session, Subject, subject_id, owner=caller.owner))


@router.head("/consent/clip", include_in_schema=False)
@router.get(
    "/consent/clip",
    summary="Watch the clip of the spoken consent",
    response_class=Response,
    responses={
        200: responses.file("the clip as it was sent", "video/mp4"),
        206: responses.file("the requested range", "video/mp4"),
        304: {"description": "not changed"},
        **problems("not_found", "object_missing", "range_not_satisfiable"),
    },
)
async def get_consent_clip(
    subject_id: str, request: Request, caller: CallerDep, turns: TurnsDep, store: StoreDep
) -> Response:
    """The clip, which stays readable after a withdrawal, as the record does, unless everything was purged.

    Its Content-Type is video/mp4 whatever it is: players look at the content.
    """
    key = await turns.read(
        grant(request, lambda session: consent_clips.clip_key(session, subject_id, owner=caller.owner))
    )
    return await object_response(request, turns, store, key, "video/mp4", {"Cache-Control": "private, no-cache"})


@router.post(
    "/withdraw-consent",
    response_model=resources.Subject,
    summary="Withdraw consent",
    responses=problems("not_found", *JSON_CODES),
)
async def withdraw_consent(
    caller: CallerDep,
    idempotency: IdempotencyDep,
    subject_id: str,
    withdrawal: JsonBody[resources.Withdrawal],
    turns: TurnsDep,
    store: StoreDep,
) -> Response:
    """Cancels the subject, its videos and its jobs for good: nothing of it is made or shown any more. If it has more than fifty videos,
    the others are cancelled within minutes after the response.

    With `purge`, footage, models and videos are removed as well; the record itself stays. Repeating the request changes nothing.
    """

    def withdraw(session: Session) -> Response:
        row = consents.withdraw_consent(session, store, subject_id, owner=caller.owner, purge=withdrawal.purge)
        return idempotency.respond(session, serializers.subject(session, row))

    response = await turns.write(withdraw)
    await turns.write(lambda session: consents.cancel_videos(session, subject_id))
    return response
