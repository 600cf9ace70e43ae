"""The token of a service on this machine that has no API keys yet, read from its data folder."""

from __future__ import annotations

import os
from pathlib import Path

TOKEN_FILE, DATA_DIR = "ADNERF_TOKEN_FILE", "ADNERF_DATA_DIR"
DEFAULT_DATA_DIR = "data"
FILE = "local-token"


def find() -> str | None:
    """Returns the token in the file that ADNERF_TOKEN_FILE names, or in the data folder (ADNERF_DATA_DIR, else ./data).

    None if there is no file that this user can read; most services need no token.
    """
    data_dir = Path(os.environ.get(DATA_DIR) or DEFAULT_DATA_DIR)
    path = Path(os.environ.get(TOKEN_FILE) or data_dir / FILE)
    try:
        if not path.is_file():  # a named pipe would never end
            return None
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return token if token.isascii() and token.isprintable() else None
