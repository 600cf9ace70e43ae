"""Downloads of files: they are complete or absent, continue after an interruption, and are checked by their SHA-256."""

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
"""Bytes read at a time: small enough for a smooth progress display, large enough that the loop costs little."""
TRIES = 2
"""Times that a file is fetched; a second wrong digest is probably not an accident of the line."""


class Remote(NamedTuple):
    """A file of the service. `tag` identifies its content (`new`: unknown); `digest` is its SHA-256, empty if unknown."""

    path: str
    size: int
    tag: str
    digest: str


def download(connection: Connection, path: str, to: str | Path, *, progress: BytesDone | None = None) -> Path:
    """Saves a file of the service.

    An incomplete file has the name `NAME.TAG.part` in the folder of `to`; TAG identifies its content, and a later call
    for the same content continues with it.

    Args:
        connection: The connection to the service.
        path: Path of the file at the service.
        to: File to save to; an existing one is replaced once the download is complete.
        progress: Called with the bytes saved so far and the total.

    Returns:
        `to` as a Path.

    Raises:
        NoSpace: The disk is full.
        Damaged: The digest of the file was wrong twice.
        BadUse: `to` cannot be written.
        Problem: The service answered with an error.
        Unreachable: The service did not answer.
    """
    to = Path(to)
    if to.is_dir() or not to.parent.is_dir():
        raise BadUse(f"{to} cannot be a file.", "Name a file in a folder that exists.")
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
    raise Damaged(f"The downloaded bytes of {path} differ from those of the service.")


def _describe(connection: Connection, path: str) -> Remote:
    head = connection.send("HEAD", path)
    try:
        size = int(head.headers["Content-Length"])
    except (KeyError, ValueError) as error:
        raise BadAnswer(f"The service does not report the size of {path}.") from error
    strong = re.fullmatch(r'"([\w.-]+)"', head.headers.get("ETag", ""))
    tag = strong[1] if strong else ""
    return Remote(path, size, tag[:16] or "new", tag if re.fullmatch(r"[0-9a-f]{64}", tag) else "")


def _fetch(connection: Connection, remote: Remote, part: Path, progress: BytesDone | None) -> None:
    """Appends to `part` until it has the size of `remote`; continues after lost connections."""
    if remote.tag == "new":
        part.unlink(missing_ok=True)  # its content cannot be compared with that of the remote file
    patience = Patience(connection.patience_s)
    while (have := part.stat().st_size if part.exists() else 0) != remote.size:
        if have > remote.size:
            part.unlink()
            have = 0
        if shutil.disk_usage(part.parent).free < remote.size - have:
            raise NoSpace(f"{part.parent} has no space for {remote.size - have} more bytes.")
        try:
            _append(connection, remote, part, have, progress)
        except AdnerfError as error:
            if part.exists() and part.stat().st_size > have:
                patience.renew()
            patience.pause(error)


def _append(connection: Connection, remote: Remote, part: Path, have: int, progress: BytesDone | None) -> None:
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with connection.stream(remote.path, headers=headers) as response:
        resumed = response.status_code == 206
        with part.open("ab" if resumed else "wb") as file:
            done = have if resumed else 0
            for chunk in response.iter_raw(CHUNK):
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
