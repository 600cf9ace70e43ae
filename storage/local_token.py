"""The local token: a secret in the data folder, by which a program proves that it may read this user's files.

While no API key exists, the API accepts the token as it will later accept a key (api/middleware/local_caller.py).
"""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

from storage.durable_files import create_once

FILE = "local-token"
"""Name of the file in the data folder; adnerf_client/local_token.py reads it too."""
PREFIX = "adnerf-local-"
"""Distinguishes the token from a key, which has another form."""
TOKEN_BYTES = 32
"""Random bytes of the token; as many as a key's secret has."""
TOKEN = re.compile(rf"{PREFIX}[0-9a-f]{{{2 * TOKEN_BYTES}}}\n?".encode())


def load_or_create(data_dir: Path) -> str:
    """Returns the token of this data folder. A missing file is created; one that others can read, or that holds no token, is replaced.

    Raises:
        OSError: the file can be neither read nor created.
    """
    path = data_dir / FILE
    with suppress(FileNotFoundError):
        status = path.stat()
        others_can_read = status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0)
        if others_can_read or not TOKEN.fullmatch(path.read_bytes()):
            path.unlink()
    if not path.exists():
        create_once(path, f"{PREFIX}{secrets.token_hex(TOKEN_BYTES)}\n")
    return path.read_text().strip()
