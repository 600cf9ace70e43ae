"""The webhooks of a service; docs/webhooks.md explains how a receiver verifies deliveries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adnerf_client.collection import Collection
from adnerf_client.connection import parse
from adnerf_client.models import Delivery, Webhook


class Webhooks(Collection[Webhook]):
    """The addresses that receive events."""

    path, model = "/v1/webhooks", Webhook

    def create(self, url: str, *, events: Sequence[str] | None = None, description: str = "") -> Webhook:
        """Creates a webhook.

        Args:
            url: The address, https on the public internet.
            events: The events to send; None sends all.
            description: A text for people.

        Returns:
            The webhook with its secret, which the service does not show again.
        """
        body: dict[str, Any] = {"url": url, "description": description}
        if events is not None:
            body["events"] = list(events)
        return parse(Webhook, self._connection.send("POST", self.path, json=body))

    def list(self, *, limit: int | None = None) -> Iterator[Webhook]:
        """Lists at most `limit` webhooks, newest first."""
        return self._list(limit)

    def change(self, which: str | Webhook, **values: Any) -> Webhook:
        """Changes `url`, `events`, `description` or `enabled`, and returns the webhook."""
        return parse(Webhook, self._connection.send("PATCH", self._path(which), json=values))

    def rotate(self, which: str | Webhook) -> Webhook:
        """Replaces the secret and returns the webhook with it; for a day, the old secret also signs deliveries."""
        return self._post(which, "rotate")

    def test(self, which: str | Webhook) -> Delivery:
        """Sends a test event and returns its delivery."""
        return parse(Delivery, self._connection.send("POST", self._path(which, "/test")))

    def deliveries(
        self, which: str | Webhook, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Delivery]:
        """Lists at most `limit` deliveries, past and pending, newest first."""
        return self._pages(self._path(which, "/deliveries"), Delivery, limit, state=state)

    def replay(self, delivery: Delivery) -> Delivery:
        """Queues a delivery again, with the same id and body, and returns it."""
        path = f"{self._path(delivery.webhook_id)}/deliveries/{delivery.id}/replay"
        return parse(Delivery, self._connection.send("POST", path))
