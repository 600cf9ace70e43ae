"""Fragmented MP4, which can be played while it is written: a header, then fragments of some pictures and their sound (ISO/IEC 14496-12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, NamedTuple

from adnerf_core.config import FIRST_SEGMENT_FRAMES, SEGMENT_FRAMES

HEADER_BYTES = 8
"""Size and kind of a box. Sizes above 4 GiB, which have another form, do not occur: a fragment is a second of video."""


class Piece(NamedTuple):
    """A part of a fragmented MP4: the header (`frames` is 0), or a fragment with the number of its pictures, which begins with a key frame."""

    data: bytes
    frames: int


def frames_before(number: int) -> int:
    """Returns the number of frames before a fragment of a video; all but the last have the lengths that config.py says."""
    return 0 if number == 0 else FIRST_SEGMENT_FRAMES + (number - 1) * SEGMENT_FRAMES


TakesPieces = Callable[[Piece], object]
"""Receives the pieces of a video in their order, the header first. It is called by a thread of its own, and must not raise; while it does
not return, the encoder may have to wait."""


def copy_pieces(source: IO[bytes], copy: IO[bytes], take: TakesPieces) -> None:
    """Copies a fragmented MP4, whose first track is the picture, to its end; `take` gets each piece as soon as it is whole."""
    data, frames = b"", 0
    while len(header := source.read(HEADER_BYTES)) == HEADER_BYTES:
        box = header + source.read(int.from_bytes(header[:4]) - HEADER_BYTES)
        copy.write(box)
        if len(box) < int.from_bytes(header[:4]):
            return  # the encoder was killed
        data += box
        if (kind := header[4:]) == b"moof":
            frames = _pictures(box)
        elif kind in (b"moov", b"mdat"):
            take(Piece(data, frames))
            data = b""


def _pictures(moof: bytes) -> int:
    """Returns the number of samples of the first track in a fragment: the sum of the counts in its `trun` boxes."""
    with suppress(StopIteration):
        track = next(content for kind, content in _boxes(moof[HEADER_BYTES:]) if kind == b"traf")
        return sum(int.from_bytes(content[4:8]) for kind, content in _boxes(track) if kind == b"trun")
    return 0


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields the kind and the content of each box."""
    while data:
        size = int.from_bytes(data[:4])
        yield data[4:HEADER_BYTES], data[HEADER_BYTES:size]
        data = data[size:]
