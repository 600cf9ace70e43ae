"""Keeps LiteRT's log messages, which its C++ code writes to standard error, off the user's terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Redirects file descriptor 2 to /dev/null inside the block.

    The descriptor is shared by all threads, so the block should be short: LiteRT logs while a network is loaded, and not
    afterwards.
    """
    original, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(null)
