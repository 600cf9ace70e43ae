"""Request and response bodies of webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, StringConstraints

from api.schemas.base import Input, Output
from api.schemas.one_line import CONTROLS, without_controls
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
    list[WebhookEvent], Field(min_length=1, max_length=100, description="events to deliver"), AfterValidator(_distinct)
]
Description = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=200),
    AfterValidator(without_controls),
    Field(json_schema_extra={"pattern": f"^[^{CONTROLS}]*$"}),
]


class WebhookInput(Input):
    """A new webhook."""

    url: Url
    events: Events = Field(list(EVENTS), description="events to deliver; default: all")
    description: Description = ""


class WebhookPatch(Input):
    """The fields of a webhook that can be changed; omitted fields stay as they are."""

    url: Url = Field(default=None)
    events: Events = Field(default=None)
    description: Description = Field(default=None)
    enabled: bool = Field(
        default=None, description="true also clears the failures of a webhook that was disabled for them"
    )


class WebhookLinks(Output):
    """Links of a webhook."""

    self: str
    deliveries: str
    test: str
    rotate: str


class Webhook(Output):
    """A URL that receives events."""

    id: str = Field(examples=["whk_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    url: str
    events: list[WebhookEvent]
    description: str
    enabled: bool
    disabled_because: Literal["request", "gone", "failing"] | None = Field(
        description="`request`: by the client; `gone`: the receiver answered 410; `failing`: nothing was accepted for five days"
    )
    failing_since: datetime | None = Field(description="time of the first failure since the last successful delivery")
    previous_secret_until: datetime | None = Field(
        description="until then, deliveries are also signed with the secret before the last rotation"
    )
    created_at: datetime
    updated_at: datetime
    links: WebhookLinks


class WebhookWithSecret(Webhook):
    """A webhook with its secret, which is shown only once."""

    secret: str = Field(
        description="secret for verifying deliveries", examples=["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"]
    )


class DeliveryLinks(Output):
    """Links of a delivery."""

    self: str
    webhook: str
    replay: str


class Delivery(Output):
    """One event for one webhook. `id` is sent in the header webhook-id with every attempt."""

    id: str = Field(examples=["msg_0198c2a4b1d0f0e1d2c3b4a5968778695a4b"])
    webhook_id: str
    event: str = Field(description="one of the webhook's events, or webhook.test", examples=["video.ready"])
    state: DeliveryState = Field(description="`failed`: no further attempt follows; it can be replayed")
    attempts: int = Field(description="attempts since it was created or last replayed")
    next_attempt_at: datetime | None = Field(description="null: no further attempt follows")
    last_attempt_at: datetime | None
    last_status: int | None = Field(description="status of the last response; null: there was none")
    last_error: str | None = Field(description="why there was no response")
    response: str | None = Field(description="start of the last response's body, at most 1024 bytes")
    payload: dict[str, Any] = Field(description="the body of the request")
    created_at: datetime
    delivered_at: datetime | None
    links: DeliveryLinks
