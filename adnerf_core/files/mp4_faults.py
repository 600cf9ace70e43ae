"""What makes an MP4 unreadable although its beginning is right: its index is missing, or its streams are encrypted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import SEEK_END
from pathlib import Path
from typing import IO

from adnerf_core.errors import NotMedia

MAX_BOXES = 10_000
"""Boxes on the first level that are looked at: a film in fragments of a second has two for each."""

MAX_INDEX = 1 << 26
"""How much of an index is searched, bytes: that of the longest film has a tenth of it."""

PROTECTED = (b"encv", b"enca", b"drms", b"drmi", b"drmt")
"""Names of encrypted streams: by Common Encryption, and by the shops of films and books."""


def require_readable_mp4(path: Path) -> None:
    """Raises NotMedia, with what is wrong, for an MP4 or MOV that cannot be read; other files pass."""
    with Path(path).open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return
        names = set()
        for name, start, length in _boxes(file):
            names.add(name)
            if name == b"moov" and _is_protected(file, start, length):
                raise NotMedia(
                    "The file is protected against copying, and cannot be decoded.",
                    "Send a recording of your own, without protection.",
                )
    if b"mdat" in names and not names & {b"moov", b"moof"}:
        raise NotMedia(
            "The file has no index (`moov`): the recording was interrupted, or a part of the file is missing.",
            "Send the whole file. If the camera was switched off while it recorded, let it repair the file.",
        )


def _boxes(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """The name of each box on the first level, and where its content begins and how long it is; the last one may be cut off."""
    at, size = 0, file.seek(0, SEEK_END)
    for _ in range(MAX_BOXES):
        if at + 8 > size:
            return
        file.seek(at)
        head = file.read(16)
        length, name, start = int.from_bytes(head[:4]), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, start = struct.unpack(">Q", head[8:])[0], 16
        if length < start or length > size - at:  # 0 is to the end of the file; else it is damaged or cut off
            length = size - at
        yield name, at + start, length - start
        at += length


def _is_protected(file: IO[bytes], start: int, length: int) -> bool:
    """Whether the description of a stream in an index (its `stsd`) names an encrypted one."""
    file.seek(start)
    index = file.read(min(length, MAX_INDEX))
    at = index.find(b"stsd")
    while at >= 0:
        if index[at + 16 : at + 20] in PROTECTED:
            return True
        at = index.find(b"stsd", at + 4)
    return False
