"""Routes of webhooks: URLs that get an event when a job ends, and the log of deliveries."""

from __future__ import annotations

import json

from fastapi import APIRouter, Response
from sqlalchemy.orm import Session

from api.auth import CallerDep
from api.deps import Cursor, Limit, ReadSession, SettingsDep, TurnsDep, WriteSession
from api.openapi import responses
from api.openapi.responses import JSON_CODES, problems
from api.requests.idempotency import SECRET, IdempotencyDep
from api.requests.if_match import IfMatchDep
from api.requests.json_body import JsonBody
from api.schemas import webhooks as schemas
from api.schemas.base import Page
from api.services import webhooks
from storage.database import models, queries
from storage.database.models import DeliveryState, now

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    status_code=201,
    response_model=schemas.WebhookWithSecret,
    summary="Make a webhook",
    responses={
        201: responses.response_with_headers(
            "created; only this response contains the secret", Location="where the webhook is"
        ),
        **problems(*JSON_CODES, "url_refused", "too_many_webhooks", "webhooks_off"),
    },
)
async def create_webhook(
    caller: CallerDep,
    idempotency: IdempotencyDep,
    webhook: JsonBody[schemas.WebhookInput],
    settings: SettingsDep,
    turns: TurnsDep,
) -> Response:
    """Events of the given kinds are sent to `url` from now on, signed with the secret (Standard Webhooks)."""
    await turns.look_up(lambda: webhooks.check_url(settings, webhook.url, owner=caller.owner))

    def create(session: Session) -> Response:
        row, secret = webhooks.create_webhook(session, settings, owner=caller.owner, **webhook.model_dump())
        resource = schemas.WebhookWithSecret(**_columns(row), secret=secret)
        return idempotency.respond(session, resource, headers={"Location": resource.links.self, **SECRET})

    return await turns.write(create)


@router.get("", summary="List webhooks, newest first", responses=problems("validation_failed"))
def list_webhooks(
    caller: CallerDep, session: ReadSession, limit: Limit = 50, cursor: Cursor = None
) -> Page[schemas.Webhook]:
    """A page of webhooks, without their secrets."""
    page = queries.page(session, models.Webhook, owner=caller.owner, limit=limit, cursor=cursor)
    return Page(items=[_webhook(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{webhook_id}", summary="Read a webhook", responses=problems("not_found"))
def get_webhook(webhook_id: str, caller: CallerDep, session: ReadSession) -> schemas.Webhook:
    """The webhook, without its secret."""
    return _webhook(queries.get(session, models.Webhook, webhook_id, owner=caller.owner))


@router.patch(
    "/{webhook_id}",
    summary="Change, disable or enable a webhook",
    responses=problems("precondition_failed", *JSON_CODES, "not_found", "url_refused"),
)
async def patch_webhook(
    webhook_id: str,
    patch: JsonBody[schemas.WebhookPatch],
    caller: CallerDep,
    settings: SettingsDep,
    turns: TurnsDep,
    if_match: IfMatchDep,
) -> schemas.Webhook:
    """The changed webhook. Pending deliveries go to its new URL. While it is disabled, it gets no new events."""
    values = patch.model_dump(exclude_unset=True)
    if "url" in values:
        await turns.look_up(lambda: webhooks.check_url(settings, values["url"], owner=caller.owner))

    def change(session: Session) -> schemas.Webhook:
        if_match.check(lambda: _locked(session, webhook_id, caller.owner))
        return _webhook(webhooks.change_webhook(session, webhook_id, owner=caller.owner, **values))

    return await turns.write(change)


@router.delete(
    "/{webhook_id}", status_code=204, summary="Delete a webhook", responses=problems("precondition_failed", "not_found")
)
def delete_webhook(webhook_id: str, caller: CallerDep, session: WriteSession, if_match: IfMatchDep) -> None:
    """Deletes the webhook, its pending deliveries and its log."""
    if_match.check(lambda: _locked(session, webhook_id, caller.owner))
    webhooks.delete_webhook(session, webhook_id, owner=caller.owner)


@router.post(
    "/{webhook_id}/rotate",
    response_model=schemas.WebhookWithSecret,
    summary="Give a webhook a new secret",
    responses=problems("not_found", "webhooks_off"),
)
def rotate_secret(
    webhook_id: str, caller: CallerDep, idempotency: IdempotencyDep, settings: SettingsDep, session: WriteSession
) -> Response:
    """The webhook with its new secret. For 24 hours deliveries are signed with the old secret as well."""
    row, secret = webhooks.rotate_secret(session, settings, webhook_id, owner=caller.owner)
    resource = schemas.WebhookWithSecret(**_columns(row), secret=secret)
    return idempotency.respond(session, resource, headers=SECRET)


@router.post(
    "/{webhook_id}/test",
    status_code=202,
    response_model=schemas.Delivery,
    summary="Send a test event",
    responses={
        202: responses.response_with_headers("accepted; it is sent within seconds", Location="where its delivery is"),
        **problems("not_found", "webhook_disabled", "too_many_deliveries"),
    },
)
def test_webhook(webhook_id: str, caller: CallerDep, idempotency: IdempotencyDep, session: WriteSession) -> Response:
    """The delivery of an event `webhook.test`; read it again to see the outcome."""
    delivery = _delivery(webhooks.send_test_event(session, webhook_id, owner=caller.owner))
    return idempotency.respond(session, delivery, headers={"Location": delivery.links.self})


@router.get(
    "/{webhook_id}/deliveries",
    summary="List a webhook's deliveries, newest first",
    responses=problems("not_found", "validation_failed"),
)
def list_deliveries(
    webhook_id: str,
    caller: CallerDep,
    session: ReadSession,
    state: DeliveryState | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[schemas.Delivery]:
    """A page of sent and pending deliveries of the last 30 days."""
    page = webhooks.list_deliveries(session, webhook_id, owner=caller.owner, state=state, limit=limit, cursor=cursor)
    return Page(items=[_delivery(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/{webhook_id}/deliveries/{delivery_id}", summary="Read a delivery", responses=problems("not_found"))
def get_delivery(webhook_id: str, delivery_id: str, caller: CallerDep, session: ReadSession) -> schemas.Delivery:
    """The delivery: its attempts so far, the last response, and the time of the next attempt."""
    return _delivery(webhooks.get_delivery(session, webhook_id, delivery_id, owner=caller.owner))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay",
    status_code=202,
    response_model=schemas.Delivery,
    summary="Repeat a delivery",
    responses={
        202: {"description": "accepted; it is sent within seconds"},
        **problems("not_found", "webhook_disabled", "too_many_deliveries"),
    },
)
def replay_delivery(
    webhook_id: str, delivery_id: str, caller: CallerDep, idempotency: IdempotencyDep, session: WriteSession
) -> Response:
    """Sends the delivery again, with the same id and body, whatever its outcome was."""
    row = webhooks.replay_delivery(session, webhook_id, delivery_id, owner=caller.owner)
    return idempotency.respond(session, _delivery(row))


def _locked(session: Session, webhook_id: str, owner: str) -> schemas.Webhook:
    return _webhook(queries.get(session, models.Webhook, webhook_id, owner=owner, for_change=True))


def _webhook(row: models.Webhook) -> schemas.Webhook:
    return schemas.Webhook(**_columns(row))


def _columns(row: models.Webhook) -> dict[str, object]:
    path = f"/v1/webhooks/{row.id}"
    both = row.both_sign_until is not None and row.both_sign_until > now()
    return {
        "id": row.id,
        "url": row.url,
        "events": row.events,
        "description": row.description,
        "enabled": row.enabled,
        "disabled_because": row.disabled_because,
        "failing_since": row.failing_since,
        "previous_secret_until": row.both_sign_until if both else None,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "links": schemas.WebhookLinks(
            self=path, deliveries=f"{path}/deliveries", test=f"{path}/test", rotate=f"{path}/rotate"
        ),
    }


def _delivery(row: models.Delivery) -> schemas.Delivery:
    webhook = f"/v1/webhooks/{row.webhook_id}"
    path = f"{webhook}/deliveries/{row.id}"
    return schemas.Delivery(
        id=row.id,
        webhook_id=row.webhook_id,
        event=row.event,
        state=row.state,
        attempts=row.attempts,
        next_attempt_at=row.next_at if row.state == "pending" else None,
        last_attempt_at=row.last_at,
        last_status=row.last_status,
        last_error=row.last_error,
        response=row.response,
        payload=json.loads(row.body),
        created_at=row.created_at,
        delivered_at=row.delivered_at,
        links=schemas.DeliveryLinks(self=path, webhook=webhook, replay=f"{path}/replay"),
    )
