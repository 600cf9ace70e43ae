"""How many threads compute, and how OpenMP threads wait for each other."""

import os


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
