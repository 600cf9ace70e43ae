"""Downloads: whole or not at all, taken up where they broke off, and compared with what the service has."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from adnerf_client.connection import BytesDone, Connection, Patience
from adnerf_client.errors import AdnerfError, BadAnswer, BadUse, Damaged, NoSpace

CHUNK = 256 << 10
TRIES = 2
"""How often a file is fetched anew whose bytes turn out to be wrong."""


class Remote(NamedTuple):
    """A file as the service describes it: `digest` is its SHA-256 where the ETag is one, else empty."""

    path: str
    size: int
    tag: str
    digest: str


def download(connection: Connection, path: str, to: str | Path, *, progress: BytesDone | None = None) -> Path:
    """Saves the file at `path` of the service as `to`, replacing what is there; returns `to`.

    Until it is whole it lies beside `to` as `NAME.TAG.part`; a later call goes on with that, if it is still the same file.
    Raises NoSpace, Damaged, BadUse (`to` cannot be written), Problem, Unreachable.
    """
    to = Path(to)
    if to.is_dir() or not to.parent.is_dir():
        raise BadUse(f"{to} cannot be a file.", "Name a file in a folder that is there.")
    remote = _describe(connection, path)
    part = to.with_name(f"{to.name}.{remote.tag}.part")
    try:
        for _ in range(TRIES):
            _fetch(connection, remote, part, progress)
            if remote.digest in ("", _digest(part)):
                part.replace(to)
                return to
            part.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            part.unlink(missing_ok=True)
            raise NoSpace(f"The disk of {to} is full.") from error
        raise BadUse(f"{to} cannot be written ({error.strerror}).", "Choose another place.") from error
    raise Damaged(f"What arrived of {path} is not what the service has.")


def _describe(connection: Connection, path: str) -> Remote:
    head = connection.send("HEAD", path)
    try:
        size = int(head.headers["Content-Length"])
    except (KeyError, ValueError) as error:
        raise BadAnswer(f"The service does not tell how long {path} is.") from error
    strong = re.fullmatch(r'"([\w.-]+)"', head.headers.get("ETag", ""))
    tag = strong[1] if strong else ""
    return Remote(path, size, tag[:16] or "new", tag if re.fullmatch(r"[0-9a-f]{64}", tag) else "")


def _fetch(connection: Connection, remote: Remote, part: Path, progress: BytesDone | None) -> None:
    """Brings `part` to the size of `remote`, however often the connection is cut."""
    if remote.tag == "new":
        part.unlink(missing_ok=True)  # nothing tells whether it is a piece of the same file
    patience = Patience(connection.patience_s)
    while (have := part.stat().st_size if part.exists() else 0) != remote.size:
        if have > remote.size:
            part.unlink()
            have = 0
        if shutil.disk_usage(part.parent).free < remote.size - have:
            raise NoSpace(f"{part.parent} has no room for {remote.size - have} more bytes.")
        try:
            _append(connection, remote, part, have, progress)
        except AdnerfError as error:
            if part.exists() and part.stat().st_size > have:
                patience.renew()
            patience.pause(error)


def _append(connection: Connection, remote: Remote, part: Path, have: int, progress: BytesDone | None) -> None:
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with connection.stream(remote.path, headers=headers) as answer:
        resumed = answer.status_code == 206
        with part.open("ab" if resumed else "wb") as file:
            done = have if resumed else 0
            for chunk in answer.iter_raw(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, remote.size)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
