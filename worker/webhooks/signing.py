"""The secrets of webhooks, and signatures made with them (Standard Webhooks, `v1`).

No secret is stored. A secret is derived when it is needed: HMAC-SHA-256 of the webhook's id and its number of rotations, under the
service's key. So a copy of the database reveals no secret. The key reveals all of them, and without it none can be derived
again: it must be backed up, separately from the database.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from datetime import datetime

from standardwebhooks.webhooks import Webhook as Signer

from storage.database.models import Webhook
from storage.durable_files import create_once
from storage.errors import BadSetting, WebhooksOff
from storage.private_files import read_file
from storage.settings import Settings
from worker.webhooks import guarded_http

MIN_KEY_LENGTH = 32
"""Least number of characters of ADNERF_WEBHOOK_KEY: 32 random hexadecimal digits have 128 bits."""
KEY_FILE = "webhook.key"
REMEDY = (
    "Restore it from a backup. If it is lost, move the file away: another key is made, and the secrets, links and bundles of "
    "before are no longer valid."
)
KEY_BYTES = 32
"""Random bytes of a key that is created here: as many as HMAC-SHA-256 has in its result."""


class WebhookSigner:
    """Signs the messages of every webhook."""

    def __init__(self, key: str):
        self._key = key.encode()

    def secret(self, webhook: Webhook) -> str:
        """Returns the secret that the receiver verifies with: `whsec_` and 32 bytes in Base64."""
        return self._secret(webhook, webhook.generation)

    def headers(self, webhook: Webhook, message_id: str, now: datetime, body: str) -> dict[str, str]:
        """Returns the three headers of the specification. Shortly after a rotation, the previous secret signs as well."""
        generations = [webhook.generation]
        if webhook.both_sign_until is not None and now < webhook.both_sign_until:
            generations.append(webhook.generation - 1)
        signers = [Signer(self._secret(webhook, generation)) for generation in generations]
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signer.sign(message_id, now, body) for signer in signers),
        }

    def _secret(self, webhook: Webhook, generation: int) -> str:
        digest = hmac.new(self._key, f"webhook {webhook.id} {generation}".encode(), hashlib.sha256).digest()
        return "whsec_" + base64.b64encode(digest).decode()


def load_signer(settings: Settings) -> WebhookSigner:
    """Returns the signer for these settings. Raises as `load_key` does."""
    return WebhookSigner(load_key(settings))


def load_key(settings: Settings) -> str:
    """Returns the service's key for signatures; on a single machine it is created at first use.

    Raises:
        BadSetting: the key is too short, or its file cannot be read.
        WebhooksOff: the settings name a database server but no key. Other machines may use that database, and each would
            create a key of its own.
    """
    if settings.webhook_key:
        if len(settings.webhook_key) < MIN_KEY_LENGTH:
            raise BadSetting(f"ADNERF_WEBHOOK_KEY has fewer than {MIN_KEY_LENGTH} characters.")
        return settings.webhook_key.get_secret_value()
    if settings.database_url:
        raise WebhooksOff("This service has no key for webhooks.")
    path = settings.data_dir / KEY_FILE
    try:
        if not path.exists():
            create_once(path, secrets.token_hex(KEY_BYTES))
        key = read_file(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadSetting(f"The key {path} cannot be used: {reason}.", REMEDY) from error
    if len(key) < MIN_KEY_LENGTH:  # such as an empty file: anybody could sign
        raise BadSetting(f"The key {path} has fewer than {MIN_KEY_LENGTH} characters.", REMEDY)
    return key


def check_settings(settings: Settings) -> None:
    """Raises BadSetting for settings of webhooks that would fail at the first delivery."""
    guarded_http.networks(settings.webhook_networks)
    if settings.webhook_key or (not settings.database_url and os.path.lexists(settings.data_dir / KEY_FILE)):
        load_signer(settings)
