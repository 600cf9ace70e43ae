"""Keeps what the service stores from other users of the machine: footage, consents, keys."""

from __future__ import annotations

import errno
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

NO_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symbolic link",
}
"""What can be in the place of a file, by its type (inode(7)): whoever reads a pipe or a device may wait for ever."""


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


def require_file(path: Path, *, links: bool = True) -> None:
    """Checks, without opening it, that nothing but a file is at `path`; there may be nothing at all.

    Args:
        path: to look at.
        links: whether it may be a symbolic link to a file.

    Raises:
        OSError: it is something else, a link to nothing, or it cannot be looked at.
    """
    try:
        mode = path.stat(follow_symlinks=links).st_mode
    except FileNotFoundError:
        if not path.is_symlink():
            return
        raise OSError(errno.EINVAL, "it is a symbolic link to nothing", str(path)) from None
    if kind := NO_FILES.get(stat.S_IFMT(mode)):
        raise OSError(errno.EINVAL, f"it is {kind}, not a file", str(path))


def read_file(path: Path) -> str:
    """Returns the text of a file that is needed at the start. Raises OSError, UnicodeDecodeError, at once."""
    require_file(path)
    return path.read_text()
