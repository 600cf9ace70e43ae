"""Damages valid files: cuts them, changes random bytes (from a seed), and overwrites boxes of an MP4 and fields of a WAV."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator

CUTS = (8, 40, 200, 0.01, 0.1, 0.5, 0.9, 0.99)
"""Lengths to which files are cut: bytes (int), or a share of the file (float)."""

Boxes = list[tuple[bytes, bytes]]
"""Type and content of each box of an MP4."""


def cuts(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields the file, cut to each length of CUTS."""
    for cut in CUTS:
        yield f"cut at {cut}", content[: cut if isinstance(cut, int) else int(cut * len(content))]


def flips(content: bytes, seed: int, times: int) -> Iterator[tuple[str, bytes]]:
    """Yields the file `times` times with random bytes changed.

    Args:
        content: the file.
        seed: of the changes.
        times: number of variants. The variant k has 12 changes in its first 2048 bytes and 20 k changes anywhere.
    """
    draw = random.Random(seed)
    for number in range(times):
        damaged = bytearray(content)
        head = min(2048, len(damaged))
        for offset in [*draw.choices(range(head), k=12), *draw.choices(range(len(damaged)), k=number * 20)]:
            damaged[offset] = draw.randrange(256)
        yield f"flipped {number}", bytes(damaged)


def boxes(content: bytes) -> Boxes:
    """Returns the top-level boxes of an MP4."""
    parts, offset = [], 0
    while offset < len(content):
        size, kind = struct.unpack_from(">I4s", content, offset)
        parts.append((kind, content[offset + 8 : offset + size]))
        offset += size
    return parts


def box(kind: bytes, content: bytes, size: int | None = None) -> bytes:
    """Returns one box; `size`, if given, replaces the true size in its header."""
    return struct.pack(">I4s", len(content) + 8 if size is None else size, kind) + content


def join(parts: Boxes) -> bytes:
    """Returns the file that consists of these boxes."""
    return b"".join(box(kind, content) for kind, content in parts)


def after(content: bytes, kind: bytes, offset: int, new: bytes) -> bytes:
    """Returns the file with the bytes at `offset` after the first `kind` overwritten with `new`."""
    start = content.index(kind) + len(kind) + offset
    return content[:start] + new + content[start + len(new) :]


def mp4(content: bytes, canary: str) -> Iterator[tuple[str, bytes]]:
    """Yields variants of an MP4 with wrong boxes. One refers to the file `canary`, which the service must not open."""
    parts = boxes(content)
    by_kind = dict(parts)
    yield "boxes backwards", join(parts[::-1])
    yield "no moov", join([part for part in parts if part[0] != b"moov"])
    yield "no mdat", join([part for part in parts if part[0] != b"mdat"])
    yield "only ftyp", join(parts[:1])
    yield "ftyp twice", join(parts[:1] * 2 + parts[1:])
    yield "moov a hundred times", join(parts[:1] + [(b"moov", by_kind[b"moov"])] * 100)
    yield "moov in moov", join([*parts[:1], (b"moov", _nested(b"moov", by_kind[b"moov"], 2000)), *parts[1:]])
    yield "trak in trak", join([*parts[:1], (b"moov", _nested(b"trak", b"", 20_000)), *parts[1:]])
    for size in (0, 1, 7, 9, 0x7FFFFFFF, 0xFFFFFFFF):
        moov = box(b"moov", by_kind[b"moov"], size)
        yield f"moov says {size:#x}", join(parts[:1]) + moov + box(b"mdat", by_kind[b"mdat"])
    yield "64 bit size", join(parts[:1]) + box(b"moov", struct.pack(">Q", 1 << 62) + by_kind[b"moov"], 1)
    fields: dict[str, Callable[[], bytes]] = {
        "timescale 0": lambda: after(content, b"mvhd", 12, bytes(4)),
        "timescale of pictures 0": lambda: after(content, b"mdhd", 12, bytes(4)),
        "timescale enormous": lambda: after(content, b"mdhd", 12, b"\xff" * 4),
        "duration enormous": lambda: after(content, b"mvhd", 16, b"\xff" * 4),
        "a matrix of zeros": lambda: after(content, b"tkhd", 40, bytes(36)),
        "turned by some degrees": lambda: after(content, b"tkhd", 40, struct.pack(">9i", *_rotation_matrix())),
        "65535 x 65535": lambda: after(content, b"avc1", 24, b"\xff" * 4),
        "0 x 0": lambda: after(content, b"avc1", 24, bytes(4)),
        "pictures of another codec": lambda: content.replace(b"avc1", b"hvc1"),
        "pictures of no codec": lambda: content.replace(b"avc1", b"zzzz"),
        "sound of another codec": lambda: content.replace(b"mp4a", b"alac"),
        "avcC empty": lambda: after(content, b"avcC", 0, bytes(24)),
        "sound says it is pictures": lambda: content.replace(b"soun", b"vide"),
        "pictures say they are text": lambda: content.replace(b"vide", b"text"),
        "channels 65535": lambda: after(content, b"mp4a", 16, b"\xff\xff"),
        "rate 0": lambda: after(content, b"mp4a", 24, bytes(4)),
        "samples without end": lambda: after(content, b"stsz", 8, b"\x7f\xff\xff\xff"),
        "samples of 2 GB": lambda: after(content, b"stsz", 4, b"\x7f\xff\xff\xff"),
        "each sample lasts nothing": lambda: after(content, b"stts", 12, bytes(4)),
        "each sample lasts for ever": lambda: after(content, b"stts", 12, b"\x7f\xff\xff\xff"),
        "samples go backwards": lambda: after(content, b"stts", 12, b"\xff\xff\xff\x00"),
        "chunks behind the end": lambda: after(content, b"stco", 8, b"\x7f\xff\xff\xff"),
        "chunks without end": lambda: after(content, b"stco", 4, b"\x7f\xff\xff\xff"),
        "edit list absurd": lambda: after(content, b"elst", 4, b"\x00\x00\x00\x01\xff\xff\xff\xff\x80\x00\x00\x00"),
        "edit list without end": lambda: after(content, b"elst", 4, b"\x7f\xff\xff\xff"),
        "data in another file": lambda: content.replace(
            box(b"url ", b"\0\0\0\1"), box(b"url ", b"\0\0\0\0" + canary.encode() + b"\0")
        ),
    }
    for name, make in fields.items():
        yield name, make()


def wav(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yields variants of a WAV with a wrong header, or with samples that are no valid sound."""
    shapes = {"channels 0": (2, "<H", 0), "channels 65535": (2, "<H", 65535), "rate 0": (4, "<I", 0)}
    shapes |= {"rate 4 GHz": (4, "<I", 0xFFFFFFFF), "rate 1": (4, "<I", 1), "bits 0": (14, "<H", 0)}
    shapes |= {"bits 65535": (14, "<H", 65535), "block 0": (12, "<H", 0), "unknown format": (0, "<H", 0x7FFF)}
    shapes |= {"says it is MP3": (0, "<H", 0x55), "says it is AAC": (0, "<H", 0xFF)}
    for name, (offset, form, value) in shapes.items():
        yield name, after(content, b"fmt ", 4 + offset, struct.pack(form, value))
    yield "data enormous", after(content, b"data", 0, b"\xff" * 4)
    yield "data of nothing", content[: content.index(b"data")] + b"data\0\0\0\0"
    yield "fmt enormous", after(content, b"fmt ", 0, b"\xff\xff\xff\x7f")
    yield "list of 5 MB", _riff(content[12:] + b"LIST" + struct.pack("<I", 5_000_000) + b"INFO" + b"A" * 4_999_996)
    yield (
        "RF64 of 2^63 bytes",
        b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<IQQQI", 28, *[1 << 63] * 3, 0) + content[12:],
    )
    for name, sample in {"NaN": float("nan"), "infinite": float("inf"), "enormous": 3e38, "denormal": 1e-45}.items():
        data = struct.pack("<f", sample) * 8000
        header = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32)
        yield f"{name} samples", _riff(header + b"data" + struct.pack("<I", len(data)) + data)


def _riff(content: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WAVE" + content


def _nested(kind: bytes, inside: bytes, depth: int) -> bytes:
    """Returns `depth` nested boxes of one kind; the innermost contains `inside`."""
    size = len(inside) + 8 * depth
    return b"".join(struct.pack(">I4s", size - 8 * level, kind) for level in range(depth)) + inside


def _rotation_matrix() -> tuple[int, ...]:
    """Returns the display matrix of a rotation by 30 degrees, in the fixed-point numbers of the format."""
    one, cosine, sine = 1 << 16, round(0.866 * (1 << 16)), 1 << 15
    return cosine, sine, 0, -sine, cosine, 0, 0, 0, one << 14
