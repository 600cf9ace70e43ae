"""Callers of /metrics that are known from before, so that a database that is away does not hide that it is."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.auth import Caller
from storage.errors import Unauthorized

KNOWN_S = 3600.0
"""Seconds for which a key that has read /metrics can do so without the database: by then the outage has been told, and a key that was
revoked meanwhile does not live for ever."""
LOOKUP_S = 2.0
"""Seconds that the database has to confirm a known key. With those of the readiness checks this is less than the 10 s that Prometheus
waits by default; a server that has disappeared refuses connections only after 10 s, or never."""


class KnownScrapers:
    """The callers that have read /metrics within the last KNOWN_S seconds, by the digest of their token."""

    def __init__(self):
        self._callers: dict[bytes, tuple[Caller, float]] = {}
        self._lookups: dict[bytes, Future[Caller | None]] = {}

    def identify(self, token: str, ask: Callable[[], Caller | None]) -> Caller | None:
        """Returns the caller of a token.

        Args:
            token: The token of the request.
            ask: Asks the database for the caller.

        Returns:
            What the database says; the caller that is known from before, if the database does not answer.

        Raises:
            Unauthorized, OperationalError, PoolTimeout: `ask` does; the last two only for a token that is not known.
        """
        digest = hashlib.sha256(token.encode()).digest()
        known, seen_at = self._callers.get(digest, (None, 0.0))
        if known is None or time.monotonic() - seen_at >= KNOWN_S:
            return self._remember(digest, ask())
        lookup = self._lookups.get(digest)
        if lookup is None or lookup.done():  # otherwise the one of an earlier request still waits for the database
            lookup = self._lookups[digest] = Future()
            Thread(target=_answer, args=(lookup, ask), name="scraper", daemon=True).start()
        try:
            return self._remember(digest, lookup.result(LOOKUP_S))
        except (TimeoutError, OperationalError, PoolTimeout):
            return known
        except Unauthorized:
            self._callers.pop(digest, None)
            raise

    def _remember(self, digest: bytes, caller: Caller | None) -> Caller | None:
        if caller is not None and caller.key_id is not None and "metrics" in caller.scopes:
            self._callers[digest] = (caller, time.monotonic())
        return caller


def _answer(lookup: Future[Caller | None], ask: Callable[[], Caller | None]) -> None:
    try:
        lookup.set_result(ask())
    except BaseException as error:
        lookup.set_exception(error)
