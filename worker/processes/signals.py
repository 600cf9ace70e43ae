"""Signals that reach a worker process even during a long native call."""

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
    """Sets `event` when one of these signals arrives while the block runs. For the main thread only.

    Python runs signal handlers between two bytecodes of the main thread, which may be inside a native call for minutes. The
    interpreter writes the signal's number into a pipe at once (signal.set_wakeup_fd), and a thread reads it from there.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def read_signals() -> None:
        while number := os.read(reader, 1):
            if number[0] in numbers:
                log.info("asked to stop")
                event.set()

    thread = threading.Thread(target=read_signals, name="signals", daemon=True)
    thread.start()
    previous_fd = signal.set_wakeup_fd(writer)
    previous = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(previous_fd)
        os.close(writer)
        thread.join()
        os.close(reader)
