"""What can be in the place of a file that is read at the start, and would keep the reader waiting or confuse it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import chdir, closing
from pathlib import Path


def _bind(path: Path) -> None:
    with (
        closing(socket.socket(socket.AF_UNIX)) as listener,
        chdir(path.parent),
    ):  # an address has a hundred characters at most
        listener.bind(path.name)


MAKE: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a socket": _bind,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a symbolic link to nothing": lambda path: path.symlink_to("/nowhere"),
    "a folder": Path.mkdir,
}
"""Functions that make each of them, by what the program says of it."""
