"""What goes over the wire about webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.resources import Input, Output
from storage.database.models import DeliveryState, WebhookEvent
from storage.tables.webhooks import EVENTS
from worker.webhooks.guarded_http import MAX_URL_LENGTH


def _distinct(events: list[WebhookEvent]) -> list[WebhookEvent]:
    return sorted(set(events), key=EVENTS.index)


Url = Annotated[
    str,
    Field(
        max_length=MAX_URL_LENGTH,
        json_schema_extra={"format": "uri"},
        description="https, port 443 or 8443, on the public internet",
        examples=["https://example.com/hooks/adnerf"],
    ),
]
Events = Annotated[
    list[WebhookEvent], Field(min_length=1, max_length=100, description="what to tell of"), AfterValidator(_distinct)
]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]


class WebhookInput(Input):
    """A new webhook."""

    url: Url
    events: Events = Field(list(EVENTS), description="what to tell of; default: everything")
    description: Description = ""


class WebhookPatch(Input):
    """What may change about a webhook; what is left out stays."""

    url: Url = Field(default=None)
    events: Events = Field(default=None)
    description: Description = Field(default=None)
    enabled: bool = Field(default=None, description="true makes one that failed start afresh")


class WebhookLinks(Output):
    self: str
    deliveries: str
    test: str
    rotate: str


class Webhook(Output):
    """An address that is told of events."""

    id: str = Field(examples=["whk_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    url: str
    events: list[WebhookEvent]
    description: str
    enabled: bool
    disabled_because: Literal["request", "gone", "failing"] | None = Field(
        description="why it is off: on request, it answered 410, or it took nothing for five days"
    )
    failing_since: datetime | None = Field(description="the first failure since it last took something")
    previous_secret_until: datetime | None = Field(
        description="until then the secret before the last rotation signs too"
    )
    created_at: datetime
    updated_at: datetime
    links: WebhookLinks


class WebhookWithSecret(Webhook):
    """A webhook and its secret, which is shown this once."""

    secret: str = Field(
        description="what deliveries are verified with", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    )


class DeliveryLinks(Output):
    self: str
    webhook: str
    replay: str


class Delivery(Output):
    """One event, told to one webhook. `id` is the header webhook-id of every attempt."""

    id: str = Field(examples=["msg_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    webhook_id: str
    event: str = Field(description="one of the webhook's events, or webhook.test", examples=["video.ready"])
    state: DeliveryState = Field(description="`failed`: given up; it can be replayed")
    attempts: int = Field(description="since it was made or last replayed")
    next_attempt_at: datetime | None = Field(description="null: none will follow by itself")
    last_attempt_at: datetime | None
    last_status: int | None = Field(description="of the last answer; null: none came")
    last_error: str | None = Field(description="why none came")
    response: str | None = Field(description="how the body of the last answer begins: 1024 bytes at most")
    payload: dict[str, Any] = Field(description="the body that is sent")
    created_at: datetime
    delivered_at: datetime | None
    links: DeliveryLinks
