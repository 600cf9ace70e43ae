"""Which tracks an MP4, MOV, MKV or WebM has and how long it lasts, by its headers alone.

The API, which has no ffmpeg, looks at short clips with it. It decodes nothing: headers may lie, and a file that passes may be damaged; one that
ends within an element does not pass. A browser's recording states no length, so the times of all packets are read, of which there are some
thousands in a minute.

Both kinds of files are trees of elements with a name and a length. They are read from start to end: an element that holds others is
entered, one that tells something is read, any other is skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import SEEK_END, BufferedIOBase
from typing import NamedTuple

MAX_ELEMENTS = 100_000
"""Elements, and packets in tables, that are read at most: ten times those of a minute, and a tenth of a second of work."""
MAX_BODY = 1 << 20
"""Longest element that is read, bytes: a table of 100,000 packets of one fragment has a megabyte."""

MP4_PARENTS = (b"moov", b"trak", b"mdia", b"mvex", b"moof", b"traf")
MKV_PARENTS = {
    b"\x18\x53\x80\x67",  # Segment
    b"\x15\x49\xa9\x66",  # Info
    b"\x16\x54\xae\x6b",  # Tracks
    b"\xae",  # TrackEntry
    b"\x1f\x43\xb6\x75",  # Cluster
    b"\xa0",  # BlockGroup
}
EBML = b"\x1a\x45\xdf\xa3"
"""The element with which MKV and WebM begin."""


class MediaHeaders(NamedTuple):
    """What the headers of a file say: whether it has a picture and sound, and its length, s."""

    has_video: bool
    has_audio: bool
    duration_s: float


def read_headers(file: BufferedIOBase) -> MediaHeaders | None:
    """Returns what the headers of `file`, seekable, say; None if it is none of these kinds, damaged, or has neither picture nor sound."""
    found = None
    try:
        size = file.seek(0, SEEK_END)
        file.seek(0)
        start = file.read(8)
        file.seek(0)
        if start[:4] == EBML:
            found = _of_mkv(_mkv_elements(file, size))
        elif start[4:] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            found = _of_mp4(_mp4_elements(file, size))
    except (struct.error, IndexError, ZeroDivisionError, _Damaged):
        return None
    return found if found and (found.has_video or found.has_audio) else None


class _Damaged(Exception):
    """The tree of elements is broken, or there are too many."""


class _Track:
    """A track of an MP4: its kind, its ticks a second, its length and that of a packet without one of its own, in ticks."""

    kind, rate, ticks, fragments, packet = b"", 1, 0, 0, 0


def _of_mp4(elements: Iterator[tuple[bytes, bytes]]) -> MediaHeaders:
    """Packets are listed in the tables of `moov`, which states their length, or in fragments, each with a table of its own."""
    tracks: dict[int, _Track] = {}
    track, packet, packets = _Track(), 0, 0
    for name, body in elements:
        long = body[:1] == b"\x01"  # version 1 has times of 64 bits
        if name == b"tkhd":
            track = tracks.setdefault(struct.unpack_from(">I", body, 20 if long else 12)[0], _Track())
        elif name == b"mdhd":
            track.rate, ticks = struct.unpack_from(">IQ" if long else ">II", body, 20 if long else 12)
            track.ticks = 0 if ticks in (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF) else ticks  # all ones: unknown
        elif name == b"hdlr":
            track.kind = body[8:12]
        elif name == b"trex":
            number, _, packet = struct.unpack_from(">III", body, 4)
            tracks.setdefault(number, _Track()).packet = packet
        elif name == b"tfhd":
            flags, number = struct.unpack_from(">II", body)
            track = tracks.setdefault(number, _Track())
            place = 8 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
            packet = struct.unpack_from(">I", body, place)[0] if flags & 0x8 else track.packet
        elif name == b"trun":
            packets += struct.unpack_from(">I", body, 4)[0]
            if packets > MAX_ELEMENTS:
                raise _Damaged
            track.fragments += _ticks_of_fragment(body, packet)
    kinds = {each.kind for each in tracks.values()}
    lengths = (max(each.ticks, each.fragments) / each.rate for each in tracks.values() if each.kind)
    return MediaHeaders(b"vide" in kinds, b"soun" in kinds, max(lengths, default=0.0))


def _ticks_of_fragment(body: bytes, packet: int) -> int:
    """The length of the packets that a `trun` lists; `packet` is that of each if it does not say."""
    flags, count = struct.unpack_from(">II", body)
    if not flags & 0x100:
        return count * packet
    start = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
    step = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
    if start + count * step > len(body):
        raise _Damaged
    return sum(struct.unpack_from(">I", body, start + n * step)[0] for n in range(count))


def _mp4_elements(file: BufferedIOBase, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields the name and the content of what is neither entered nor skipped."""
    wanted = (b"tkhd", b"mdhd", b"hdlr", b"trex", b"tfhd", b"trun")
    for _ in range(MAX_ELEMENTS):
        start = file.tell()
        if start + 8 > size:
            return
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        end = start + length if length else size
        if not file.tell() <= end <= size:
            raise _Damaged
        if name in wanted:
            if end - file.tell() > MAX_BODY:
                raise _Damaged
            yield name, _read(file, end - file.tell())
        if name not in MP4_PARENTS:
            file.seek(end)
    raise _Damaged


def _of_mkv(elements: Iterator[tuple[bytes, bytes]]) -> MediaHeaders:
    """The length is the time of the last packet, or what is stated, if that is more."""
    kinds, scale, stated, cluster, last = set(), 1_000_000, 0.0, 0, 0
    for name, body in elements:
        if name == b"\x2a\xd7\xb1":  # TimestampScale, ns
            scale = int.from_bytes(body)
        elif name == b"\x44\x89":  # Duration
            (stated,) = struct.unpack(">f" if len(body) == 4 else ">d", body)
        elif name == b"\x83":  # TrackType
            kinds.add(int.from_bytes(body))
        elif name == b"\xe7":  # Timestamp of a cluster
            cluster = int.from_bytes(body)
        else:  # a block: the number of its track, and its time in the cluster
            last = max(last, cluster + struct.unpack_from(">h", body, _width(body[0]))[0])
    return MediaHeaders(1 in kinds, 2 in kinds, max(stated, last) * scale / 1e9)


def _mkv_elements(file: BufferedIOBase, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields the name and the content, of a block the start, of what is neither entered nor skipped."""
    numbers, blocks = (b"\x2a\xd7\xb1", b"\x44\x89", b"\x83", b"\xe7"), (b"\xa3", b"\xa1")
    for _ in range(MAX_ELEMENTS):
        if file.tell() >= size:
            return
        name = _read(file, 1)
        name += _read(file, _width(name[0]) - 1)
        first = _read(file, 1)[0]
        rest = _read(file, _width(first) - 1)
        length = int.from_bytes(bytes([first & (0xFF >> _width(first))]) + rest)
        unknown = length == (1 << (7 * _width(first))) - 1  # as in a recording, whose end was not known when it began
        end = file.tell() + length
        if end > size and not (unknown and name in MKV_PARENTS):
            raise _Damaged
        if name in MKV_PARENTS:
            continue
        if name in numbers and length > 8:
            raise _Damaged
        if name in numbers:
            yield name, _read(file, length)
        elif name in blocks:
            yield name, _read(file, min(length, 12))
        file.seek(end)
    raise _Damaged


def _width(first: int) -> int:
    """Bytes of a number that begins with the byte `first`: one more than its leading zeros."""
    if not first:
        raise _Damaged
    return 9 - first.bit_length()


def _read(file: BufferedIOBase, length: int) -> bytes:
    found = file.read(length)
    if len(found) < length:
        raise _Damaged
    return found
