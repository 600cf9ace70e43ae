"""How many threads compute, how OpenMP threads wait for each other, and work that a thread does ahead."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def sleep_while_waiting() -> None:
    """Makes waiting OpenMP threads sleep instead of spin; must be called before torch is imported.

    If there are more threads than free cores, a spinning thread occupies the core that the thread it waits for needs: on a
    busy machine with two cores, the first training stage took seventy times as long. A value of OMP_WAIT_POLICY in the
    environment takes precedence.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def ahead(items: Iterable[T], most: int) -> Iterator[T]:
    """Draws items in a thread of its own from this call on, up to `most` of them before they are needed; returns them in their order."""
    source, end, pool = iter(items), object(), ThreadPoolExecutor(1, "ahead")
    pending = deque(pool.submit(next, source, end) for _ in range(most))

    def drawn() -> Iterator[T]:
        try:
            while (item := pending.popleft().result()) is not end:
                pending.append(pool.submit(next, source, end))
                yield item
        finally:
            pool.shutdown(cancel_futures=True)

    return drawn()
