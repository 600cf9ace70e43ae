"""Use cases of webhooks; api/services/subjects.py states the rules of all services.

A URL is checked by `check_url` before the transaction, outside a writer's turn: name servers may take seconds.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from storage.database import queries
from storage.database.models import Delivery, DeliveryState, Webhook, WebhookEvent
from storage.database.queries import Page
from storage.errors import NotFound
from storage.settings import Settings
from storage.tables import idempotency, webhooks
from worker.webhooks import guarded_http
from worker.webhooks.signing import load_signer


def create_webhook(
    session: Session, settings: Settings, *, owner: str, url: str, events: list[WebhookEvent], description: str
) -> tuple[Webhook, str]:
    """Creates a webhook; returns it with its secret. Call `check_url` first. Raises WebhooksOff, TooManyWebhooks."""
    signer = load_signer(settings)
    webhook = webhooks.create(session, owner=owner, url=url, events=events, description=description)
    return webhook, signer.secret(webhook)


def change_webhook(session: Session, webhook_id: str, *, owner: str, **values: Any) -> Webhook:
    """Sets some of `url`, `events`, `description`, `enabled`. Call `check_url` first. Raises NotFound."""
    return webhooks.change(session, queries.get(session, Webhook, webhook_id, owner=owner), **values)


def delete_webhook(session: Session, webhook_id: str, *, owner: str) -> None:
    """Deletes the webhook with all its deliveries, sent or not. Raises NotFound."""
    webhooks.remove(session, queries.get(session, Webhook, webhook_id, owner=owner))
    idempotency.erase_naming(session, webhook_id, owner=owner)


def rotate_secret(session: Session, settings: Settings, webhook_id: str, *, owner: str) -> tuple[Webhook, str]:
    """Gives the webhook a new secret and returns both; for a day deliveries are signed with the old one too.

    Raises WebhooksOff, NotFound.
    """
    signer = load_signer(settings)
    webhook = webhooks.rotate(session, queries.get(session, Webhook, webhook_id, owner=owner))
    return webhook, signer.secret(webhook)


def send_test_event(session: Session, webhook_id: str, *, owner: str) -> Delivery:
    """Queues a delivery of the event `webhook.test`. Raises NotFound, WebhookDisabled, TooManyDeliveries."""
    return webhooks.enqueue_test(session, queries.get(session, Webhook, webhook_id, owner=owner))


def get_delivery(session: Session, webhook_id: str, delivery_id: str, *, owner: str) -> Delivery:
    """Returns one of the webhook's deliveries. Raises NotFound."""
    queries.get(session, Webhook, webhook_id, owner=owner)
    delivery = queries.get(session, Delivery, delivery_id, owner=owner)
    if delivery.webhook_id != webhook_id:
        raise NotFound(f"Webhook {webhook_id} has no delivery {delivery_id}.")
    return delivery


def list_deliveries(
    session: Session,
    webhook_id: str,
    *,
    owner: str,
    state: DeliveryState | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Delivery]:
    """Returns a page of the webhook's deliveries, newest first. Raises NotFound."""
    queries.get(session, Webhook, webhook_id, owner=owner)
    return queries.page(session, Delivery, limit=limit, cursor=cursor, owner=owner, webhook_id=webhook_id, state=state)


def replay_delivery(session: Session, webhook_id: str, delivery_id: str, *, owner: str) -> Delivery:
    """Queues a delivery again, whether it succeeded or failed.

    Raises NotFound, WebhookDisabled, TooManyDeliveries.
    """
    delivery = get_delivery(session, webhook_id, delivery_id, owner=owner)
    return webhooks.replay(session, queries.get(session, Webhook, webhook_id, owner=owner), delivery)


def check_url(settings: Settings, url: str, *, owner: str) -> None:
    """Raises UrlRefused if webhooks cannot be sent to `url`: it is malformed, or its host resolves to a refused address.

    Every delivery checks this again, because the host's addresses can change.
    """
    allowed = guarded_http.networks(settings.webhook_networks)
    guarded_http.resolve_allowed(guarded_http.parse(url), allowed, partial(guarded_http.resolve, owner=owner))
