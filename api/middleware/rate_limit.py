"""Rate limits: fixed windows, counted in Redis if the broker is Redis, else in this process.

The response headers are those of draft-ietf-httpapi-ratelimit-headers, version 09 and later:

    RateLimit-Policy: "key";q=1200;w=60        1200 requests in 60 seconds
    RateLimit: "key";r=1187;t=42               1187 remain; the window ends in 42 seconds
"""

from __future__ import annotations

import logging
import math
import time
from threading import Lock
from typing import Literal, NamedTuple

from limits import RateLimitItem, parse
from limits.errors import StorageError as CountersUnavailable
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import FixedWindowRateLimiter

from api.middleware.pace import Pacer
from storage.errors import BadSetting
from storage.settings import PREFIX, Settings
from worker.broker import ANSWER_S, CONNECT_S

log = logging.getLogger(__name__)

Policy = Literal["key", "address"]

OFF = "off"
RETRY_REDIS_S = 10.0
"""Seconds during which Redis is not asked again after it did not respond: each attempt delays a request by its timeout."""


class RateLimitStatus(NamedTuple):
    """State of one client's window after a request."""

    policy: Policy
    limit: int
    window_s: int
    remaining: int
    reset_s: int
    admitted: bool
    wait_s: float = 0.0
    """Seconds that the request has to wait, if it is admitted (pace.py)."""

    def headers(self) -> dict[str, str]:
        """Returns the response headers."""
        fields = {
            "RateLimit-Policy": f'"{self.policy}";q={self.limit};w={self.window_s}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset_s}',
        }
        return fields if self.admitted else fields | {"Retry-After": str(self.reset_s)}


class RateLimiter:
    """Counts the requests of each key, and of each address for requests without a key. Thread-safe."""

    def __init__(self, settings: Settings):
        """Raises BadSetting if a rate in the settings is malformed."""
        self.items: dict[Policy, RateLimitItem | None] = {
            "key": _parse("rate_limit", settings.rate_limit),
            "address": _parse("address_rate_limit", settings.address_rate_limit),
        }
        self._pacers = {
            policy: Pacer(item.amount / item.get_expiry()) for policy, item in self.items.items() if item is not None
        }
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._shared = None
        if settings.broker_url.startswith(("redis://", "rediss://")):
            storage = storage_from_string(
                settings.broker_url,
                wrap_exceptions=True,
                key_prefix="adnerf-rates",
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
            )
            self._shared = FixedWindowRateLimiter(storage)
        self._shared_is_away, self._retry_shared_at = False, 0.0
        self._looking, self._counting = Lock(), Lock()

    def hit(self, policy: Policy, client: str) -> RateLimitStatus | None:
        """Counts a request of `client` (a key's id or an address); returns None if there is no limit."""
        item = self.items[policy]
        if item is None:
            return None
        status = self._count(item, policy, client)
        return status._replace(wait_s=self._pacers[policy].wait_s(client)) if status.admitted else status

    def _count(self, item: RateLimitItem, policy: Policy, client: str) -> RateLimitStatus:
        if self._shared is not None and self._asks_shared():
            try:
                status = _hit(self._shared, item, policy, client)
                self._shared_is_away = False
                return status
            except CountersUnavailable as error:  # counting in each process is better than refusing or admitting all
                log.warning("rate limits are counted in this process for a while: %s", error)
                self._shared_is_away, self._retry_shared_at = True, time.monotonic() + RETRY_REDIS_S
        with self._counting:  # two threads would start the library's timer twice, which raises
            return _hit(self._local, item, policy, client)

    def _asks_shared(self) -> bool:
        """Whether this request asks Redis: while it is away, one request in RETRY_REDIS_S does, and no other waits for its timeout."""
        with self._looking:
            if self._shared_is_away:
                if time.monotonic() < self._retry_shared_at:
                    return False
                self._retry_shared_at = time.monotonic() + RETRY_REDIS_S
            return True


def _hit(limiter: FixedWindowRateLimiter, item: RateLimitItem, policy: Policy, client: str) -> RateLimitStatus:
    admitted = limiter.hit(item, policy, client)
    reset_time, remaining = limiter.get_window_stats(item, policy, client)
    reset_s = max(1, math.ceil(reset_time - time.time()))
    return RateLimitStatus(policy, item.amount, item.get_expiry(), remaining, reset_s, admitted)


def _parse(name: str, text: str) -> RateLimitItem | None:
    if text == OFF:
        return None
    try:
        return parse(text)
    except ValueError as error:
        raise BadSetting(f"{PREFIX}{name.upper()}={text!r} is not a rate, such as 1200/minute, nor `{OFF}`.") from error
