"""The GPU of a worker: each of the workers that share a data folder takes one that no other has.

CUDA reads CUDA_VISIBLE_DEVICES when a process first uses it, so the choice comes before that, in the very process that computes.
The lock of a GPU ends with its process, however that ends.
"""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from storage.errors import InUse
from storage.settings import Settings, cuda_devices, set_cuda_devices
from worker.locks import HeldLock

log = logging.getLogger(__name__)

LIST_S = 60.0
"""Seconds that nvidia-smi may take: without its persistence mode the driver first initialises every GPU, which takes seconds."""


def take_gpu(settings: Settings) -> HeldLock | None:
    """Restricts this process to one GPU: a free one, otherwise one with the fewest workers.

    Call it before CUDA is used, and hold the result as long as the GPU is used.

    Returns:
        The lock of the GPU. None, and nothing is changed, if there is no choice: an operator has set CUDA_VISIBLE_DEVICES, or
        nvidia-smi lists no GPU.
    """
    if cuda_devices() is not None:
        return None
    devices = list_gpus()
    if not devices:
        return None
    device, others, lock = _take(settings.locks / "gpus", devices)
    set_cuda_devices(device)
    if others:
        log.warning(
            "the GPU %s is shared by %d workers, because there are more workers than GPUs (%d): its memory may not suffice. "
            "Start one worker for each GPU.",
            device, others + 1, len(devices),
        )  # fmt: skip
    else:
        log.info("this worker has the GPU %s", device)
    return lock


def list_gpus() -> list[str]:
    """Returns the ids (UUIDs) of the GPUs that nvidia-smi lists; of a GPU that is divided (MIG), those of its parts."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=LIST_S, check=True).stdout
    except FileNotFoundError:
        return []
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("nvidia-smi cannot list the GPUs, so workers do not share them out: %s", error)
        return []
    devices = re.findall(r"UUID: ((?:GPU|MIG)-[\w/-]+)", listed)
    followers = [*devices[1:], ""]  # of a divided GPU: its first part
    return [each for each, after in zip(devices, followers, strict=False) if each[:3] == "MIG" or after[:3] != "MIG"]


def _take(folder: Path, devices: Sequence[str]) -> tuple[str, int, HeldLock]:
    """Takes the first free place: the first of every GPU, then the second of every GPU, and so on.

    Returns:
        The GPU, the number of workers that it has already, and the lock of the place.
    """
    for others in count():
        for device in devices:
            try:
                return device, others, HeldLock(folder / f"{device.replace('/', '-')}.{others}")
            except InUse:
                continue
    raise AssertionError("count() does not end")
