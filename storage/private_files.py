"""Keeps what the service stores from other users of the machine: footage, consents, keys."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from storage.durable_files import make_folder

log = logging.getLogger(__name__)

UMASK = 0o077
"""Permissions that new files and folders do not get: all of the group and of others."""
PRIVATE = 0o700
"""Permissions of the data folder: its user only."""


def restrict_umask() -> None:
    """Makes all files and folders that this process and its children create private to their user."""
    os.umask(UMASK)


def make_data_dir(folder: Path) -> None:
    """Makes the data folder, private to its user, if it does not exist."""
    make_folder(folder, PRIVATE)


def warn_if_not_private(folder: Path) -> None:
    """Logs a warning if other users of this machine can open the data folder, as in those that earlier versions made."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & UMASK:
        message = "other users of this machine can open %s (mode %o); to prevent it: chmod -R go= %s"
        log.warning(message, folder, mode, folder)
