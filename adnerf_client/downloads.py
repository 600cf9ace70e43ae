"""Downloads of files: they are complete or absent, continue after an interruption, and are checked by their SHA-256."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import httpx

from adnerf_client.connection import FIRST_PAUSE_S, BytesDone, Connection, Patience
from adnerf_client.errors import AdnerfError, BadAnswer, BadUse, Damaged, NoSpace

CHUNK = 256 << 10
"""Bytes read at a time: small enough for a smooth progress display, large enough that the loop costs little."""
TRIES = 2
"""Times that a file is fetched; a second wrong digest is probably not an accident of the line."""
RESTARTS = 6
"""Starts of a download whose file is replaced meanwhile, such as a preview; each pause is twice the last, 16 s in all."""
LONGEST_NAME = 180
"""Longest name (bytes) that a partial file carries; with the ETag it stays below the 255 bytes of most file systems."""


class Remote(NamedTuple):
    """A file as the service describes it.

    `etag` is the header. `tag` is the name in a strong ETag, else empty: then nothing shows whether two responses belong to the
    same file. `digest` is the SHA-256 of the file if the ETag is one, else empty.
    """

    path: str
    size: int
    etag: str
    tag: str
    digest: str


class _Changed(Exception):
    """The service answered with another file than the one it had described."""


def download(connection: Connection, path: str, to: str | Path, *, progress: BytesDone | None = None) -> Path:
    """Saves a file of the service.

    An incomplete file has the name `NAME.TAG.part` in the folder of `to`; TAG identifies its content, and a later call
    for the same content continues with it. An ETag that is no digest says so only for one path, so TAG then holds a digest of both.

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
    for number in range(RESTARTS):
        remote = _describe(connection, path)
        try:
            return _save(connection, remote, to, progress)
        except _Changed:
            time.sleep(FIRST_PAUSE_S * 2**number)
    raise Damaged(f"{path} has changed {RESTARTS} times while it was downloaded.", "Try again in a moment.")


def save_answer(connection: Connection, path: str, to: str | Path) -> Path:
    """Saves what the service makes and sends on a POST as `to`, complete or not at all, and returns its path.

    Raises:
        NoSpace: The disk is full.
        BadUse: `to` cannot be written.
        Problem: The service answered with an error.
        Unreachable: The service did not answer, or not to the end.
    """
    to = Path(to)
    if to.is_dir() or not to.parent.is_dir():
        raise BadUse(f"{to} cannot be a file.", "Name a file in a folder that exists.")
    part = to.with_name(f".{to.name}.part")
    try:
        with connection.stream(path, method="POST") as answer, part.open("wb") as file:
            for chunk in answer.iter_raw(CHUNK):
                file.write(chunk)
        return part.replace(to)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"The disk of {to} is full.") from error
        raise BadUse(f"{to} cannot be written ({error.strerror}).", "Choose another place.") from error
    finally:
        part.unlink(missing_ok=True)


def _save(connection: Connection, remote: Remote, to: Path, progress: BytesDone | None) -> Path:
    """Saves `remote` as `to`. Raises _Changed if the service has another file by now; nothing of it is left then."""
    name = os.fsencode(to.name)
    short = to.name if len(name) <= LONGEST_NAME else hashlib.sha256(name).hexdigest()
    part = to.with_name(f"{short}.{_content(connection, remote)}.part")
    try:
        for _ in range(TRIES):
            _fetch(connection, remote, part, progress)
            if remote.digest in ("", _digest(part)):
                part.replace(to)
                return to
            part.unlink()
    except _Changed:
        part.unlink(missing_ok=True)
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            part.unlink(missing_ok=True)
            raise NoSpace(f"The disk of {to} is full.") from error
        raise BadUse(f"{to} cannot be written ({error.strerror}).", "Choose another place.") from error
    raise Damaged(f"The downloaded bytes of {remote.path} differ from those of the service.")


def _content(connection: Connection, remote: Remote) -> str:
    """Returns a name for the content of `remote`: equal names mean equal bytes, except for `new`."""
    if remote.digest or not remote.tag:
        return remote.digest or "new"
    return hashlib.sha256(f"{connection.base_url} {remote.path} {remote.tag}".encode()).hexdigest()[:32]


def _describe(connection: Connection, path: str) -> Remote:
    head = connection.send("HEAD", path)
    try:
        size = int(head.headers["Content-Length"])
    except (KeyError, ValueError) as error:
        raise BadAnswer(f"The service does not report the size of {path}.") from error
    etag = head.headers.get("ETag", "")
    strong = re.fullmatch(r'"([\w.-]{1,64})"', etag)
    tag = strong[1] if strong else ""
    return Remote(path, size, etag, tag, tag if re.fullmatch(r"[0-9a-f]{64}", tag) else "")


def _fetch(connection: Connection, remote: Remote, part: Path, progress: BytesDone | None) -> None:
    """Appends to `part` until it has the size of `remote`; continues after lost connections. Raises _Changed."""
    patience = Patience(connection.patience_s)
    while True:
        have = part.stat().st_size if remote.tag and part.exists() else 0
        if have == remote.size and part.exists():
            return
        if have > remote.size:
            have = 0
        if shutil.disk_usage(part.parent).free < remote.size - have:
            raise NoSpace(f"{part.parent} has no space for {remote.size - have} more bytes.")
        try:
            _append(connection, remote, part, have, progress)
            return
        except AdnerfError as error:
            if error.status == 416:
                raise _Changed from error
            if remote.tag and part.exists() and part.stat().st_size > have:
                patience.renew()
            patience.pause(error)


def _append(connection: Connection, remote: Remote, part: Path, have: int, progress: BytesDone | None) -> None:
    """Fetches the rest of `part`, of which there are `have` bytes. Raises _Changed if it is not the rest of `remote`."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if not remote.digest:  # a digest is compared at the end, and a bucket that a link leads to has ETags of its own
            headers["If-Range"] = remote.etag
    with connection.stream(remote.path, headers=headers) as answer:
        resumed = answer.status_code == 206
        _compare(answer, remote, have)
        with part.open("ab" if resumed else "wb") as file:
            done = have if resumed else 0
            for chunk in answer.iter_raw(CHUNK):
                done += len(chunk)
                if done > remote.size:
                    raise _Changed
                file.write(chunk)
                if progress is not None:
                    progress(done, remote.size)
    if done != remote.size:
        raise _Changed


def _compare(answer: httpx.Response, remote: Remote, have: int) -> None:
    """Raises _Changed if the headers of an answer are not those of `remote` from the byte `have` on."""
    redirected = bool(answer.history)
    if not redirected and answer.headers.get("ETag", "") != remote.etag:
        raise _Changed
    if answer.status_code == 206:
        same = answer.headers.get("Content-Range") == f"bytes {have}-{remote.size - 1}/{remote.size}"
    else:
        same = answer.headers.get("Content-Length", str(remote.size)) == str(remote.size)
    if not same:
        raise _Changed


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
