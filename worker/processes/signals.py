"""Signals: how a worker process hears that it shall stop."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def event_on_signals(event: threading.Event, *numbers: signal.Signals) -> Iterator[None]:
    """Sets `event` when one of these signals comes while the block runs. Only in the main thread.

    Python runs its signal handlers between two lines of the main thread, which may be in a long native call; so the
    number that the interpreter writes into a pipe at once is read by a thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def listen() -> None:
        while number := os.read(reader, 1):
            if number[0] in numbers:
                log.info("told to stop")
                event.set()

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    earlier_fd = signal.set_wakeup_fd(writer)
    earlier = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(earlier_fd)
        os.close(writer)
        listener.join()
        os.close(reader)
