"""The token of a service on this machine that has no API keys yet, read from its data folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

TOKEN_FILE, DATA_DIR = "ADNERF_TOKEN_FILE", "ADNERF_DATA_DIR"
DEFAULT_DATA_DIR = "data"
FILE = "local-token"
ROOT = 0
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
"""Linux's tables of TCP sockets (proc_pid_net(5))."""
ADDRESS, STATE, USER = 1, 3, 7
"""Columns of the tables: own address and port, state, user id."""
LISTENING = "0A"
"""State of a socket that waits for connections, from linux/tcp_states.h."""
PORTS = {"http": 80, "https": 443}


class LocalToken(NamedTuple):
    """A token, and the id of the user whose file it is read from."""

    text: str
    user: int


class LocalTokenAuth(httpx.Auth):
    """Adds the local token to requests, but not while another user's program listens on the port.

    Such a program could have taken the port of a service that is stopped, and the token would let it in later. The token's own user
    and root may listen. Where the system does not tell who listens, such as outside Linux, the token is sent.
    """

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:
        """Adds the header, if there is a token for the program that listens."""
        token = find()
        port = request.url.port or PORTS[request.url.scheme]
        if token is not None and _listeners(port) <= {token.user, os.geteuid(), ROOT}:
            request.headers["Authorization"] = f"Bearer {token.text}"
        yield request


def find() -> LocalToken | None:
    """Returns the token in the file that ADNERF_TOKEN_FILE names, or in the data folder (ADNERF_DATA_DIR, else ./data).

    None if there is no file that this user can read; most services need no token.
    """
    data_dir = Path(os.environ.get(DATA_DIR) or DEFAULT_DATA_DIR)
    path = Path(os.environ.get(TOKEN_FILE) or data_dir / FILE)
    try:
        if not path.is_file():  # a named pipe would never end
            return None
        token, user = path.read_text().strip(), path.stat().st_uid
    except (OSError, UnicodeDecodeError):
        return None
    return LocalToken(token, user) if token and token.isascii() and token.isprintable() else None


def _listeners(port: int) -> set[int]:
    """Returns the ids of the users whose programs listen on a port of this machine; empty if nobody does, or the system does not tell."""
    end = f":{port:04X}"
    users = set()
    for table in TABLES:
        try:
            rows = [line.split() for line in table.read_text().splitlines()[1:]]
        except OSError:
            continue
        users |= {int(row[USER]) for row in rows if row[ADDRESS].endswith(end) and row[STATE] == LISTENING}
    return users
