"""Requests at the same time: one caller gets a part of an API process's connections, so that others find one that is free."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from api.problems.problems import Problem

PART = 4
"""One caller may occupy a fourth of the connections: four who mean harm are needed to occupy all."""
RETRY_S = 5
"""Retry-After of a refused request: most requests are answered within a second."""


class RequestShares:
    """Counts the requests of each caller that are in progress. Only the event loop uses it.

    Args:
        connections: The connections of this process.
    """

    def __init__(self, connections: int):
        self.connections = connections
        self._requests: Counter[str] = Counter()

    @contextmanager
    def take(self, caller: str) -> Iterator[None]:
        """Counts a request of `caller` until the block ends. Raises Problem `rate_limited` if the caller has too many."""
        limit = max(1, self.connections // PART)
        if self._requests[caller] >= limit:
            message = f"{limit} requests at the same time are allowed."
            raise Problem("rate_limited", message, headers={"Retry-After": str(RETRY_S)})
        self._requests[caller] += 1
        try:
            yield
        finally:
            self._requests[caller] -= 1
            if not self._requests[caller]:
                del self._requests[caller]
