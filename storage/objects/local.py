"""LocalStore: objects as files in a folder."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from storage.errors import EmptyFile, FileTooLarge, ObjectMissing, StoreAway, StoreFull
from storage.objects.base import CHUNK, Stored, check_key, check_prefix


class LocalStore:
    """An object store (storage/objects/base.py) in the folder `root`. What is being written has a name with a dot in front."""

    def __init__(self, root: Path):
        self.root = Path(root)

    def put(self, key: str, source: BinaryIO, *, limit: int | None = None) -> Stored:
        path = self._path(key)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        digest, size = hashlib.sha256(), 0
        with _full_disk_named():
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    while chunk := source.read(CHUNK):
                        size += len(chunk)
                        if limit is not None and size > limit:
                            raise FileTooLarge(f"The file has more than {limit} bytes.")
                        digest.update(chunk)
                        file.write(chunk)
                    file.flush()
                    os.fsync(file.fileno())
                if size == 0:
                    raise EmptyFile("The file is empty.")
                os.replace(temporary, path)
                _sync_folder(path.parent)
            finally:
                temporary.unlink(missing_ok=True)
        return Stored(key, size, digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        with _missing_named(key):
            return self._path(key).open("rb")

    def fetch(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        with _missing_named(key), _full_disk_named():
            try:
                os.link(self._path(key), path)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
                    raise
                shutil.copyfile(self._path(key), path)  # no hard links here

    def size(self, key: str) -> int:
        with _missing_named(key):
            return self._path(key).stat().st_size

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        shutil.rmtree(self.root / check_prefix(prefix), ignore_errors=True)

    def keys(self, *, older_than_s: float, after: str = "") -> Iterator[str]:
        latest = time.time() - older_than_s
        for path in _walk(self.root, after.split("/")):
            if not path.name.startswith(".") and _age_reaches(path, latest):
                yield path.relative_to(self.root).as_posix()

    def drop_unfinished(self, *, older_than_s: float) -> int:
        latest = time.time() - older_than_s
        left = [path for path in self.root.rglob(".*") if _age_reaches(path, latest)]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)

    def link(self, key: str, *, name: str, media_type: str) -> str | None:
        return None

    def ping(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            os.listdir(self.root)
        except OSError as error:
            raise StoreAway(f"The object store's folder cannot be read: {error.strerror}.") from error

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)


def _walk(folder: Path, after: list[str]) -> Iterator[Path]:
    """All files below `folder`, by the parts of their paths, from behind the path with the parts `after` on."""
    with suppress(FileNotFoundError):  # it may go while we look
        for name in sorted(os.listdir(folder)):
            if after and name < after[0]:
                continue
            path, rest = folder / name, after[1:] if after and name == after[0] else []
            if path.is_dir():
                yield from _walk(path, rest)
            elif not after or name > after[0]:
                yield path


def _age_reaches(path: Path, latest: float) -> bool:
    with suppress(FileNotFoundError):
        return path.is_file() and path.stat().st_mtime <= latest
    return False


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull("No space left in the object store.") from error
        raise


@contextmanager
def _missing_named(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ObjectMissing(f"There is no object {key}.") from error


def _sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
