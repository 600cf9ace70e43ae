"""The priority of processes that compute for long, below that of those which answer."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

AUTOGROUP = Path("/proc/self/autogroup")
"""The niceness of this process's session where Linux schedules each session as one (sched(7), autogroup)."""


def be_nice(niceness: int) -> None:
    """Lowers the priority of this process, and of those that it starts.

    Where each session is scheduled as one, a process's niceness counts within its session alone: one that leads its session lowers that too.
    """
    os.nice(niceness)
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # the system has no such file, or the niceness of many sessions was changed just now
            AUTOGROUP.write_text(str(niceness))
