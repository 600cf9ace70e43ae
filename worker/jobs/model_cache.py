"""A cache of one: the subject that was rendered last stays loaded for the next video of the same person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adnerf_core.files.run_dir import RunDir


class ModelCache:
    """Keeps at most one loaded subject.

    A run is identified by its folder, which is the unpacked copy of an object; an object never changes.

    Args:
        load: (run, device) -> subject.
        free: releases the device memory that nothing uses any more.
    """

    def __init__(self, load: Callable[[RunDir, str], Any], free: Callable[[], object]):
        self._load, self._free = load, free
        self._key: tuple[object, ...] | None = None
        self._subject: Any = None

    def load(self, run: RunDir, device: str) -> Any:
        """Returns the subject of `run`; a different cached subject is released before the new one is loaded."""
        if self._key != (run.root, device):
            self.clear()
            self._subject = self._load(run, device)
            self._key = run.root, device
        return self._subject

    def clear(self) -> None:
        """Releases the cached subject and its memory."""
        self._key = self._subject = None
        self._free()
