"""Delivers pending webhook events. Every worker of the queue `cpu` has one deliverer.

It runs in threads beside the worker's job, so that neither waits for the other. A receiver occupies a thread for at most the
deadline of guarded_http.py; a receiver that fails is retried with growing delays (storage/tables/webhooks.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial

from storage.database.engine import Database
from storage.database.models import now
from storage.errors import UrlRefused, WebhooksOff
from storage.settings import Settings
from storage.tables import webhooks
from storage.tables.webhooks import Attempt, ClaimedDelivery
from worker.owner_turns import OwnerTurns
from worker.watchdog import RunningClock
from worker.webhooks import guarded_http
from worker.webhooks.signing import WebhookSigner, check_settings, load_signer

log = logging.getLogger(__name__)

THREADS = 6
"""Threads of one worker: this many receivers can be slow at the same time before others wait. A thread costs little, but more of
them compete with the job for the two cores of a small machine."""
AT_ONCE = 2
"""Threads that deliveries of one owner may occupy: three owners whose receivers are all slow are needed before others wait."""
LEASE_S = 60.0
"""Seconds after which a claimed delivery counts as not made: well above the look-up and the exchange together (5 + 10 s). The other
workers measure them by their own running time."""
AGENT = "adnerf-webhooks"


class WebhookDeliverer:
    """Delivers due events until `stopping` is set; background threads call `deliver_due` repeatedly.

    Args:
        clock: seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.settings, self.database, self.stopping = settings, database, stopping
        check_settings(settings)
        self.allowed = guarded_http.networks(settings.webhook_networks)
        self.turns = OwnerTurns(AT_ONCE)
        self._signer: WebhookSigner | None = None
        # Half a lease: after a pause of this process, a living worker has the other half to record its attempt.
        self._clock = RunningClock(LEASE_S / 2, clock)
        self._seen: dict[str, float] = {}
        """The claims of all workers, and the running time at which each was first seen."""
        self._looking = threading.Lock()

    def deliver_due(self) -> None:
        """Makes deliveries, in turn for each owner, until none is due; several threads and workers may call it at the same time."""
        if not self._due_owners():
            return
        try:
            signer = self._signer = self._signer or load_signer(self.settings)
        except WebhooksOff as error:
            log.error("webhooks are not delivered: %s", error)
            return
        while not self.stopping.is_set():
            with self.turns.take(self._due_owners()) as owner:
                if owner is None:
                    return
                if claimed := self._claim(owner):  # otherwise another worker took it
                    self._record(claimed, self._deliver(signer, claimed))

    def _release_lost(self) -> None:
        """Releases the deliveries that have been claimed for a lease of this process's running time: their workers are lost."""
        with self.database.session(write=False) as session:
            claims = webhooks.claims(session)
        with self._looking:
            running = self._clock.advance()
            self._seen = {claim: self._seen.get(claim, running) for claim in claims}
            lost = [claim for claim, since in self._seen.items() if running - since >= LEASE_S]
        if lost:
            with self.database.session() as session:
                webhooks.release(session, lost)
            log.warning("the workers of %d deliveries are lost: they are sent again", len(lost))

    def _due_owners(self) -> dict[str, datetime]:
        self._release_lost()
        with self.database.session(write=False) as session:
            return webhooks.due_owners(session)

    def _claim(self, owner: str) -> ClaimedDelivery | None:
        with self.database.session() as session:
            return webhooks.claim(session, lease_s=LEASE_S, owner=owner)

    def _deliver(self, signer: WebhookSigner, claimed: ClaimedDelivery) -> Attempt:
        delivery, webhook = claimed
        headers = {
            "Content-Type": "application/json",
            "User-Agent": AGENT,
            **signer.headers(webhook, delivery.id, now(), delivery.body),
        }
        try:
            resolve = partial(guarded_http.resolve, owner=webhook.owner)
            response = guarded_http.post(
                webhook.url, headers, delivery.body.encode(), allowed=self.allowed, resolve=resolve
            )
        except UrlRefused as error:
            return Attempt(error=error.message)
        except guarded_http.RequestFailed as error:
            return Attempt(error=str(error))
        return Attempt(response.status, _readable(response.body))

    def _record(self, claimed: ClaimedDelivery, attempt: Attempt) -> None:
        with self.database.session() as session:
            outcome = webhooks.record_attempt(session, claimed, attempt)
        ids = {"webhook_id": claimed.webhook.id, "delivery_id": claimed.delivery.id}
        result = "overtaken" if outcome is None else outcome
        log.info("a webhook's delivery: %s (%s)", result, attempt.error or attempt.status, extra=ids)


def _readable(body: bytes) -> str:
    """Decodes a body for people to read; characters that cannot be shown or stored are replaced."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\ufffd"
        for character in body.decode(errors="replace")
    )
