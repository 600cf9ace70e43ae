"""Turns of owners: waiting work is taken from each owner in turn, so that many requests of one owner do not delay those of others.

The turns are those of one process. Over several processes each takes turns by itself, which is as fair.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any


class OwnerTurns:
    """Chooses whose work is next; threads may share it.

    Args:
        at_once: Pieces of work of one owner that may be under way at the same time. The other threads serve other owners.
    """

    def __init__(self, at_once: int):
        self.at_once = at_once
        self._lock = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self._last_turns: dict[str, int] = {}
        self._turns = count(1)

    @contextmanager
    def take(self, waiting: Mapping[str, Any]) -> Iterator[str | None]:
        """Gives a turn to the owner whose last one is longest ago; the turn lasts until the block ends.

        Args:
            waiting: By owner with waiting work, what the oldest piece is sorted by. It decides between owners without a turn yet.

        Yields:
            The owner; None if nobody waits but owners with `at_once` pieces under way.
        """
        owner = self._choose(waiting)
        try:
            yield owner
        finally:
            if owner is not None:
                with self._lock:
                    self._under_way[owner] -= 1

    def _choose(self, waiting: Mapping[str, Any]) -> str | None:
        with self._lock:
            free = [owner for owner in waiting if self._under_way[owner] < self.at_once]
            if not free:
                return None
            owner = min(free, key=lambda each: (self._last_turns.get(each, 0), waiting[each]))
            self._last_turns[owner] = next(self._turns)
            self._under_way[owner] += 1
            return owner
