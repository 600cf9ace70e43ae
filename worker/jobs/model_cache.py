"""Warm: the subject that was rendered last stays in memory, for the next video of the same person."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adnerf_core.files.run_dir import RunDir


class ModelCache:
    """One loaded subject at most. `load`: (run, device) -> subject; `free` gives back the memory that nothing uses.

    A run is known by its folder: that is the unpacked copy of an object, and an object never changes.
    """

    def __init__(self, load: Callable[[RunDir, str], Any], free: Callable[[], object]):
        self._load, self._free = load, free
        self._key: tuple[object, ...] | None = None
        self._subject: Any = None

    def load(self, run: RunDir, device: str) -> Any:
        """The subject of `run`; loaded only if it is another than the last one, which is dropped before."""
        if self._key != (run.root, device):
            self.drop()
            self._subject = self._load(run, device)
            self._key = run.root, device
        return self._subject

    def drop(self) -> None:
        """Keeps nothing any more."""
        self._key = self._subject = None
        self._free()
