"""Makes files and folders durable: they are there after the power has failed.

A file is durable once its content and the entry in its folder are, and the folder once its own entry is.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Makes a folder with the permissions `mode`, and those above it that do not exist yet, all of them durable."""
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(mode, exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Makes the content of a file durable, or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Makes everything in `folder` durable, and its own entry."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            sync(Path(parent, name))
        sync(Path(parent))
    sync(folder.absolute().parent)


def publish(partial: Path, path: Path) -> None:
    """Gives a file its final name in the same folder, once its content is durable; then the name is, too."""
    sync(partial)
    os.replace(partial, path)
    sync(path.parent)


def publish_once(partial: Path, path: Path) -> None:
    """Does as `publish`, but raises FileExistsError if there is a file of that name already."""
    sync(partial)
    os.link(partial, path)
    sync(path.parent)
    partial.unlink()


def create_once(path: Path, text: str) -> bool:
    """Creates a file that its user alone can read: durable, never half-written, and once even if several processes create it together.

    A file that is there already stays as it is.

    Returns:
        Whether this call created it.
    """
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        sync(temporary)
        os.link(temporary, path)
        sync(path.parent)
        return True
    except FileExistsError:  # another process was faster
        return False
    finally:
        temporary.unlink()
