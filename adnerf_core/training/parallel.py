"""Threads that share the work of a training step. Torch releases Python's lock while it computes, so they run at the same time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

Item, Result = TypeVar("Item"), TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Returns [function(item) for item in items], computed in as many threads as there are cores for this process.

    Operators of torch run in a single thread each: on the small tensors of a step, several threads inside an operator are slower than
    one (docs/decisions/0002-fast-field.md). Denormal numbers count as zero.
    """

    def run(item: Item) -> Result:
        torch.set_num_threads(1)
        with flush_denormals():
            return function(item)

    threads = min(len(items), len(os.sched_getaffinity(0)))
    if threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, items))


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Treats denormal numbers as zero in this thread while the block runs.

    Gradients behind an opaque surface are that small. A CPU is many times slower with such numbers, and they change nothing.
    """
    for kind in (np.float32, np.float64):
        np.finfo(
            kind
        )  # makes numpy cache its constants, which it would warn about if it computed them inside the block
    supported = torch.set_flush_denormal(True)
    try:
        yield
    finally:
        if supported:
            torch.set_flush_denormal(False)
