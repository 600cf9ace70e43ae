"""WebhookDeliverer: takes what webhooks are to be told to where it goes. Every worker of the queue `cpu` has one.

It works in threads beside the worker's job, so that neither waits for the other: a receiver holds up a thread for at
most the deadline of worker/webhooks/guarded_http.py, and one that fails is left alone for longer and longer (storage/tables/webhooks.py).
"""

from __future__ import annotations

import logging
import threading

from storage.database.engine import Database
from storage.database.models import now
from storage.errors import UrlRefused, WebhooksOff
from storage.settings import Settings
from storage.tables import webhooks
from storage.tables.webhooks import Attempt, ClaimedDelivery
from worker.webhooks import guarded_http
from worker.webhooks.signing import WebhookSigner, check_settings, load_signer

log = logging.getLogger(__name__)

THREADS = 4
"""Threads of one worker: as many receivers may be slow at once before others wait."""
LEASE_S = 60.0
"""When a delivery counts as not made: well above what a look-up and an exchange may take together."""
AGENT = "adnerf-webhooks"


class WebhookDeliverer:
    """Delivers what is due until `stopping` is set. Its threads call `round` now and then."""

    def __init__(self, settings: Settings, database: Database, stopping: threading.Event):
        self.settings, self.database, self.stopping = settings, database, stopping
        check_settings(settings)
        self.allowed = guarded_http.networks(settings.webhook_networks)
        self._keyring: WebhookSigner | None = None

    def round(self) -> None:
        """Makes one delivery after the other until none is due. Several threads and workers may do so at once."""
        with self.database.session(write=False) as session:
            if not webhooks.is_due(session):
                return
        try:
            keyring = self._keyring = self._keyring or load_signer(self.settings)
        except WebhooksOff as error:
            log.error("webhooks wait: %s", error)
            return
        while not self.stopping.is_set() and (claimed := self._claim()):
            self._settle(claimed, self._deliver(keyring, claimed))

    def _claim(self) -> ClaimedDelivery | None:
        with self.database.session() as session:
            return webhooks.claim(session, lease_s=LEASE_S)

    def _deliver(self, keyring: WebhookSigner, claimed: Claimed) -> Attempt:
        delivery, webhook = claimed
        headers = {
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            **keyring.headers(webhook, delivery.id, now(), delivery.body),
        }
        try:
            answer = guarded_http.post(webhook.url, headers, delivery.body.encode(), allowed=self.allowed)
        except UrlRefused as error:
            return Attempt(error=error.message)
        except guarded_http.RequestFailed as error:
            return Attempt(error=str(error))
        return Attempt(answer.status, _readable(answer.body))

    def _settle(self, claimed: ClaimedDelivery, attempt: Attempt) -> None:
        with self.database.session() as session:
            outcome = webhooks.record_attempt(session, claimed, attempt)
        ids = {"webhook_id": claimed.webhook.id, "delivery_id": claimed.delivery.id}
        what = "overtaken" if outcome is None else outcome
        log.info("a webhook's delivery: %s (%s)", what, attempt.error or attempt.status, extra=ids)


def _readable(body: bytes) -> str:
    """Text for people; what is no text, or could not be stored, is replaced."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in body.decode(errors="replace"))
