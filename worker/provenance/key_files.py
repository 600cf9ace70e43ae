"""Files with secret keys in the signing folder: readable by the workers' user only, and made once."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from storage.durable_files import make_folder, sync
from storage.errors import BadCertificate
from storage.private_files import PRIVATE

log = logging.getLogger(__name__)


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Returns the text of `path`; a missing file is created atomically, and once even if several workers start together.

    Raises BadCertificate if it can be neither read nor created.
    """
    if not path.exists():
        try:
            _make(path, make)
        except OSError as error:
            remedy = "Give the worker's user write permission for that folder, or set another one (ADNERF_SIGNING_DIR)."
            raise BadCertificate("A file for signing cannot be created.", remedy, details=error) from error
    return read(path)


def read(path: Path) -> str:
    """Returns the text of `path`. Raises BadCertificate if it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadCertificate("A file for signing cannot be read.", details=f"{path}: {error}") from error


def _make(path: Path, make: Callable[[], str]) -> None:
    make_folder(path.parent, PRIVATE)
    temporary = path.with_name(f".{secrets.token_hex(6)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(make())
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):  # another worker was faster: its file is used
            os.link(temporary, path)
            sync(path.parent)  # a video that is made with a key must not survive it
            log.info("created %s", path)
    finally:
        temporary.unlink()
