"""Files with secret keys in the signing folder: readable by the workers' user only, and made once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from storage.durable_files import create_once, make_folder
from storage.errors import BadCertificate
from storage.private_files import PRIVATE, read_file

log = logging.getLogger(__name__)

READ_REMEDY = (
    "Correct its permissions, restore it from a backup, or name another file (ADNERF_SIGNING_DIR, ADNERF_SIGN_CERTIFICATE, "
    "ADNERF_SIGN_KEY)."
)
"""What helps against a file that cannot be read."""


def read_or_create(path: Path, make: Callable[[], str]) -> str:
    """Returns the text of `path`; a missing file is created atomically, and once even if several workers start together.

    Raises BadCertificate if it can be neither read nor created.
    """
    if not path.exists():
        try:
            make_folder(path.parent, PRIVATE)
            if create_once(path, make()):  # durable: a video that is made with a key must not survive it
                log.info("created %s", path)
        except OSError as error:
            remedy = "Give the worker's user write permission for that folder, or set another one (ADNERF_SIGNING_DIR)."
            raise BadCertificate("A file for signing cannot be created.", remedy, details=error) from error
    return read(path)


def read(path: Path) -> str:
    """Returns the text of `path`. Raises BadCertificate if it cannot be read."""
    try:
        return read_file(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadCertificate("A file for signing cannot be read.", READ_REMEDY, details=f"{path}: {reason}") from error
