"""Pacing: the requests of a client who sends many at once are spread, so that those of others have their turns in between.

A rate limit counts minutes: the requests of one may come in its first seconds, and would take the processor from everybody else for as long.
This is the generic cell rate algorithm (ITU-T I.371): it delays and refuses nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Lock

BURST_S = 5.0
"""Seconds whose requests a client may send at once: 100 by default, a page of a list with its pictures."""
LEAST_BURST = 20
"""Requests that a client may send at once at any rate."""
FORGET_AT = 10_000
"""Number of clients beyond which those are forgotten that have sent nothing for a while."""


class Pacer:
    """Says how long each request has to wait. Thread-safe; each API process paces by itself.

    Args:
        per_s: requests of one client per second.
        most_s: longest time that a request waits. What came beyond it is forgotten, so that the client's pace is soon its own again.
        clock: seconds that never go back.
    """

    def __init__(self, per_s: float, most_s: float = math.inf, clock: Callable[[], float] = time.monotonic):
        self._interval_s, self._clock = 1 / per_s, clock
        self._most_s = most_s
        self._ahead_s = max(BURST_S, LEAST_BURST * self._interval_s)
        self._next: dict[str, float] = {}
        """By client, when its next request would come at an even pace."""
        self._lock = Lock()

    def wait_s(self, client: str) -> float:
        """Counts a request of `client`; returns the seconds that it has to wait."""
        with self._lock:
            now = self._clock()
            if len(self._next) >= FORGET_AT:
                self._next = {each: due for each, due in self._next.items() if due > now}
            due = max(now, self._next.get(client, now))
            self._next[client] = min(due + self._interval_s, now + self._ahead_s + self._most_s)
            return max(0.0, due - now - self._ahead_s)
