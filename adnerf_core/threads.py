"""How the threads of one process share the cores with everybody else's."""

import os


def sleep_while_waiting() -> None:
    """Lets OpenMP threads that wait for each other sleep instead of spin. To be called before torch is loaded.

    A thread that spins keeps the core from the one it waits for, whenever there are more threads than cores: on a busy machine
    of two cores, the first stage of training took seventy times as long with spinning threads. OMP_WAIT_POLICY, where it is
    set, says otherwise.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
