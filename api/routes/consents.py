"""Routes of consent: reading the record and withdrawing it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import ReadSession, StoreDep, TurnsDep
from api.openapi.responses import JSON_CODES, problems
from api.requests.idempotency import IdempotencyDep
from api.requests.json_body import JsonBody
from api.responses import serializers
from api.schemas import resources
from api.services import consents
from storage.database import queries
from storage.database.models import Subject

router = APIRouter(prefix="/v1/subjects/{subject_id}", tags=["subjects"])


@router.get("/consent", summary="Read the record of consent", responses=problems("not_found"))
def get_consent(subject_id: str, caller: CallerDep, session: ReadSession) -> resources.Consent:
    """Who agreed to be shown, to what, when, and with which footage. The record exists as long as the subject does."""
    return serializers.consent(queries.get(session, Subject, subject_id, owner=caller.owner))


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
