"""The local token: a secret in the data folder, by which a program proves that it may read this user's files.

While no API key exists, the API accepts the token as it will later accept a key (api/middleware/local_caller.py).
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from pathlib import Path

from storage.durable_files import create_once
from storage.private_files import read_file, require_file

FILE = "local-token"
"""Name of the file in the data folder; adnerf_client/local_token.py reads it too."""
PREFIX = "adnerf-local-"
"""Distinguishes the token from a key, which has another form."""
TOKEN_BYTES = 32
"""Random bytes of the token; as many as a key's secret has."""
TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{{2 * TOKEN_BYTES}}}\n?".encode())


def load_or_create(data_dir: Path) -> str:
    """Returns the token of this data folder. A missing file is created; one that others can read, or that holds no token, and
    whatever else is in its place but a folder, is replaced.

    Raises:
        OSError: the file can be neither read nor created.
    """
    path = data_dir / FILE
    if path.is_dir():
        raise OSError(errno.EISDIR, "it is a folder, not a file; move it away", str(path))
    if os.path.lexists(path) and not _holds_token(path):
        path.unlink(missing_ok=True)  # another process may have been quicker
    if not path.exists():
        create_once(path, f"{PREFIX}{secrets.token_hex(TOKEN_BYTES)}\n")
    return read_file(path).strip()


def _holds_token(path: Path) -> bool:
    """Whether `path` is a file with a token that no other user can read."""
    try:
        require_file(path)
        status = path.stat()
        others_can_read = status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0)
        return not others_can_read and TOKEN.fullmatch(path.read_bytes()) is not None
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOENT, errno.ELOOP):  # no file, or a link to nothing
            raise
        return False
