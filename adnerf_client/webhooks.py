"""Webhooks: addresses that are told of events (docs/webhooks.md says how a receiver verifies them)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adnerf_client.collection import Collection
from adnerf_client.connection import parse
from adnerf_client.models import Delivery, Webhook


class Webhooks(Collection[Webhook]):
    """Addresses that are told of events."""

    path, model = "/v1/webhooks", Webhook

    def create(self, url: str, *, events: Sequence[str] | None = None, description: str = "") -> Webhook:
        """A new webhook, with its secret, which is shown this once; `events` is what to tell of, by default everything."""
        body: dict[str, Any] = {"url": url, "description": description}
        if events is not None:
            body["events"] = list(events)
        return parse(Webhook, self._connection.send("POST", self.path, json=body))

    def list(self, *, limit: int | None = None) -> Iterator[Webhook]:
        """Webhooks, newest first, at most `limit`."""
        return self._list(limit)

    def change(self, which: str | Webhook, **values: Any) -> Webhook:
        """The webhook with other values for `url`, `events`, `description` or `enabled`."""
        return parse(Webhook, self._connection.send("PATCH", self._path(which), json=values))

    def rotate(self, which: str | Webhook) -> Webhook:
        """The webhook with its new secret; for a day deliveries are signed with the one before, too."""
        return self._post(which, "rotate")

    def test(self, which: str | Webhook) -> Delivery:
        """The delivery of a test event."""
        return parse(Delivery, self._connection.send("POST", self._path(which, "/test")))

    def deliveries(
        self, which: str | Webhook, *, state: str | None = None, limit: int | None = None
    ) -> Iterator[Delivery]:
        """What the webhook was told or is to be told, newest first."""
        return self._pages(self._path(which, "/deliveries"), Delivery, limit, state=state)

    def replay(self, delivery: Delivery) -> Delivery:
        """The delivery, due again with the same id and body."""
        path = f"{self._path(delivery.webhook_id)}/deliveries/{delivery.id}/replay"
        return parse(Delivery, self._connection.send("POST", path))
