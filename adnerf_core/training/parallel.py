"""Threads that share the work of a training step. Torch releases Python's lock while it computes, so they run at the same time."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from adnerf_core.threads import usable_cores

Item, Result = TypeVar("Item"), TypeVar("Result")

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of two parameters of mallopt in glibc (M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in malloc.h)."""
KEPT_BYTES, LARGEST_KEPT_BYTES = 256 << 20, 32 << 20
"""Freed memory that a process keeps, and the largest piece that is kept. A step of 4,096 rays takes less than the first; glibc accepts
no more than the second, and the largest tensor of such a step has 13 MB."""


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Returns [function(item) for item in items], computed in as many threads as there are cores for this process.

    Denormal numbers count as zero in these threads. Threads that torch starts inside an operator would only add to them: see
    single_threaded_operators.
    """

    def run(item: Item) -> Result:
        with flush_denormals():
            return function(item)

    threads = min(len(items), usable_cores())
    if threads < 2:
        return [run(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, items))


def keep_freed_memory() -> None:
    """Lets the C library keep freed memory for what is allocated next, until the process ends.

    By default glibc returns the tensors of a training step to the system, which clears each page when the next step touches it: 11,000 page
    faults a step, a fifth of its processor time. Other C libraries have no such setting and stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BYTES)


@contextmanager
def single_threaded_operators() -> Iterator[None]:
    """Lets every operator of torch run in one thread while the block runs, also in threads that start there.

    On the small tensors of a training step, several threads inside an operator are slower than one (docs/decisions/0002-fast-field.md).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Treats denormal numbers as zero in this thread while the block runs.

    Gradients behind an opaque surface are that small. A CPU is many times slower with such numbers, and they change nothing.
    """
    # Makes numpy cache its constants, which it would warn about if it computed them inside the block.
    for kind in (np.float32, np.float64):
        np.finfo(kind)
    supported = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if supported:
            torch.set_flush_denormal(False)
