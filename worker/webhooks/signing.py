"""WebhookSigner: the secrets of webhooks, and what is signed with them (Standard Webhooks, `v1`).

No secret is stored. Each is made from the service's own key, the webhook's id and the number of its rotations whenever it
is needed, so that a copy of the database gives none away. Whoever has the key has them all, and without it none can be
made again: it belongs to the backup, apart from the database's.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from standardwebhooks.webhooks import Webhook as Signer

from storage.database.models import Webhook
from storage.errors import BadSetting, WebhooksOff
from storage.settings import Settings
from worker.webhooks import guarded_http

SHORTEST = 32
"""Characters of ADNERF_WEBHOOK_KEY, at least."""
FILE = "webhook.key"


class WebhookSigner:
    """What can sign for every webhook."""

    def __init__(self, key: str):
        self._key = key.encode()

    def secret(self, webhook: Webhook) -> str:
        """`whsec_` and 32 bytes: what the webhook's owner verifies with."""
        return self._secret(webhook, webhook.generation)

    def headers(self, webhook: Webhook, message_id: str, moment: datetime, body: str) -> dict[str, str]:
        """The three headers of the specification. Shortly after a rotation, the secret before it signs too."""
        generations = [webhook.generation]
        if webhook.both_sign_until is not None and moment < webhook.both_sign_until:
            generations.append(webhook.generation - 1)
        signers = [Signer(self._secret(webhook, generation)) for generation in generations]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": " ".join(signer.sign(message_id, moment, body) for signer in signers),
        }

    def _secret(self, webhook: Webhook, generation: int) -> str:
        made = hmac.new(self._key, f"webhook {webhook.id} {generation}".encode(), hashlib.sha256).digest()
        return "whsec_" + base64.b64encode(made).decode()


def load_signer(settings: Settings) -> WebhookSigner:
    """The keyring of these settings; on one machine its key is made when it is needed first.

    Raises BadSetting where the key is too short, WebhooksOff where the settings have none, but a database that other
    machines may use too: each would make a key of its own.
    """
    if settings.webhook_key:
        if len(settings.webhook_key) < SHORTEST:
            raise BadSetting(f"ADNERF_WEBHOOK_KEY has less than {SHORTEST} characters.")
        return WebhookSigner(settings.webhook_key.get_secret_value())
    if settings.database_url:
        raise WebhooksOff("This service has no key for webhooks.")
    return WebhookSigner(_kept(settings.data_dir / FILE))


def _kept(path: Path) -> str:
    """The key in this file. Where there is none it is made, by one process alone and never seen half-written."""
    if not path.exists():
        draft = path.with_name(f".{FILE}-{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was quicker
            os.link(draft, path)
        draft.unlink()
    return path.read_text()


def check_settings(settings: Settings) -> None:
    """Raises BadSetting for what would fail later otherwise."""
    guarded_http.networks(settings.webhook_networks)
    if settings.webhook_key:
        load_signer(settings)
