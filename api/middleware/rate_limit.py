"""How often a client may ask: fixed windows, counted in Redis where the broker is one, else in this process.

The fields are those of draft-ietf-httpapi-ratelimit-headers (from its version 09 on):

    RateLimit-Policy: "key";q=1200;w=60        1200 requests a minute
    RateLimit: "key";r=1187;t=42               1187 are left, for 42 seconds; then all are there again
"""

from __future__ import annotations

import logging
import math
import time
from typing import Literal, NamedTuple

from limits import RateLimitItem, parse
from limits.errors import StorageError as CountersAway
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from storage.errors import BadSetting
from storage.settings import PREFIX, Settings
from worker.broker import ANSWER_S, CONNECT_S

log = logging.getLogger(__name__)

Policy = Literal["key", "address"]

OFF = "off"
AWAY_S = 10.0
"""How long Redis is left alone after it did not answer."""


class RateLimitStatus(NamedTuple):
    """How a client stands after one more request."""

    policy: Policy
    limit: int
    window_s: int
    remaining: int
    reset_s: int
    admitted: bool

    def headers(self) -> dict[str, str]:
        """The header fields that tell of it."""
        fields = {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={self.window_s}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_s}',
        }
        return fields if self.admitted else fields | {"Retry-After": str(self.reset_s)}


class RateLimiter:
    """Counts the requests of each key and, where there is none, of each address. Threads may share it."""

    def __init__(self, settings: Settings):
        """Raises BadSetting for a rate that cannot be understood."""
        self.items: dict[Policy, RateLimitItem | None] = {
            "key": _parse("rate_limit", settings.rate_limit),
            "address": _parse("address_rate_limit", settings.address_rate_limit),
        }
        self.here = FixedWindowRateLimiter(MemoryStorage())
        self.shared = None
        if settings.broker_url.startswith(("redis://", "rediss://")):
            storage = storage_from_string(
                settings.broker_url,
                wrap_exceptions=True,
                key_prefix="adnerf-rates",
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
            )
            self.shared = FixedWindowRateLimiter(storage)
        self.shared_again = 0.0

    def hit(self, policy: Policy, who: str) -> RateLimitStatus | None:
        """Counts one more request of `who`; None where there is no limit."""
        item = self.items[policy]
        if item is None:
            return None
        if self.shared is not None and time.monotonic() >= self.shared_again:
            try:
                return _hit(self.shared, item, policy, who)
            except CountersAway as error:  # better to count in every process by itself than to refuse or to admit all
                log.warning("rates are counted in this process for a while: %s", error)
                self.shared_again = time.monotonic() + AWAY_S
        return _hit(self.here, item, policy, who)


def _hit(limiter: FixedWindowRateLimiter, item: RateLimitItem, policy: Policy, who: str) -> RateLimitStatus:
    admitted = limiter.hit(item, policy, who)
    reset_time, remaining = limiter.get_window_stats(item, policy, who)
    reset_s = max(1, math.ceil(reset_time - time.time()))
    return RateLimitStatus(policy, item.amount, item.get_expiry(), remaining, reset_s, admitted)


def _parse(name: str, text: str) -> RateLimitItem | None:
    if text == OFF:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise BadSetting(f"{PREFIX}{name.upper()}={text!r} is not a rate, such as 1200/minute, nor `{OFF}`.") from error
