"""Consent: the record of who agreed to be shown, and its end."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from api.auth import CallerDep
from api.deps import Reading, StoreDep, Writing
from api.openapi import responses
from api.openapi.responses import problems
from api.requests.idempotency import IdempotentRoute
from api.requests.multipart import receive_json
from api.responses import serializers
from api.schemas import resources
from api.services import consents, subjects

router = APIRouter(prefix="/v1/subjects/{subject_id}", tags=["subjects"], route_class=IdempotentRoute)


async def _withdrawal(request: Request) -> resources.Withdrawal:
    return await receive_json(request, resources.Withdrawal)


@router.get("/consent", summary="Read the record of consent", responses=problems("not_found"))
def get_consent(subject_id: str, caller: CallerDep, session: Reading) -> resources.Consent:
    """Who agreed to be shown, to what, when, with which footage; it is there for as long as the subject's row is."""
    return serializers.consent(subjects.get_subject(session, subject_id, owner=caller.owner))


@router.post(
    "/withdraw-consent",
    summary="Withdraw consent",
    responses=problems("not_found", "body_too_large", "unsupported_media_type", "upload_stalled", "validation_failed"),
    openapi_extra=responses.json_body(resources.Withdrawal),
)
def withdraw_consent(
    caller: CallerDep,
    subject_id: str,
    withdrawal: Annotated[resources.Withdrawal, Depends(_withdrawal)],
    session: Writing,
    store: StoreDep,
) -> resources.Subject:
    """The subject, `cancelled` for ever with its videos: its jobs are cancelled, nothing of it is made or shown any more.

    With `purge` footage, models and videos are removed too; the record itself stays. Asking again changes nothing.
    """
    row = consents.withdraw_consent(session, store, subject_id, owner=caller.owner, purge=withdrawal.purge)
    return serializers.subject(session, row)
