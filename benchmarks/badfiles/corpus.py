"""The corpus: every bad file with its name and the role in which it is sent. Equal seeds and versions of ffmpeg give equal files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Literal, NamedTuple

from benchmarks.badfiles import good, handmade, spoil

Role = Literal["video", "audio", "background"]


class Case(NamedTuple):
    """A file and the role in which it is sent: reference video, speech, or background."""

    role: Role
    name: str
    content: bytes


def cases(seed: int, canary: str, address: str) -> Iterator[Case]:
    """Generates all files.

    Args:
        seed: of the random changes.
        canary: path of a file that some of them refer to. The service must not open it.
        address: URL of an HTTP server that some of them refer to. The service must not connect to it.
    """
    films, speeches, pictures = good.films(), good.speeches(), good.pictures()
    for kind, content in films.items():
        yield from _spoilt("video", kind, content, seed)
    for kind, content in good.people().items():
        yield from _spoilt("video", f"{kind} of a person", content, seed)
    for kind, content in speeches.items():
        yield from _spoilt("audio", kind, content, seed)
    for kind, content in pictures.items():
        yield from _spoilt("background", kind, content, seed)
    yield from _named("video", "mp4", spoil.mp4(films["mp4"], canary))
    yield from _named("audio", "m4a", spoil.mp4(films["mov"], canary), every=5)
    yield from _named("audio", "wav", spoil.wav(speeches["wav"]))
    yield from _named("video", "wav", spoil.wav(speeches["wav"]), every=6)
    yield from _named("video", "list", handmade.lists(canary, address))
    yield from _named("audio", "list", handmade.lists(canary, address), every=2)
    yield from _named("background", "list", handmade.lists(canary, address), every=4)
    yield from _named("video", "stranger", handmade.strangers(films["mp4"]))
    yield from _named("audio", "stranger", handmade.strangers(films["mp4"]), every=2)
    yield from _named("background", "picture", handmade.pictures(pictures["png"], pictures["jpeg"]))
    yield from _named("video", "odd", iter(good.odd_films().items()))
    yield from _named("audio", "odd", iter(good.odd_speeches().items()))
    yield from _named("video", "absurd", _absurd())
    yield Case("background", "a film", films["mp4"])
    yield Case("video", "empty", b"")
    yield Case("audio", "empty", b"")
    yield Case("background", "empty", b"")


def _spoilt(role: Role, kind: str, content: bytes, seed: int) -> Iterator[Case]:
    yield from _named(role, kind, spoil.cuts(content))
    yield from _named(role, kind, spoil.flips(content, seed, 5))


def _named(role: Role, kind: str, files: Iterator[tuple[str, bytes]], every: int = 1) -> Iterator[Case]:
    """Yields a case for each `every`-th file."""
    for number, (name, content) in enumerate(files):
        if number % every == 0:
            yield Case(role, f"{kind}: {name}", content)


def _absurd() -> Iterator[tuple[str, bytes]]:
    """Small videos that need much time or memory to decode, with the sound and the number of frames that footage must have."""
    sources = ("-f", "lavfi", "-i", "color=gray:s={size}:r=6:d={seconds}", *good.SPEECH)
    for size in ("5000x5000", "16000x1000", "4096x4096"):
        yield size, good.encode("a.mkv", *sources, *good.H264, size=size, seconds=9)
    ten_bits = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p10le")
    yield "4096x4096, ten bits", good.encode("a.mkv", *sources, *ten_bits, size="4096x4096", seconds=9)
    squeezed = ("-c:v", "png", "-pix_fmt", "gray")
    yield "6000x6000, squeezed", good.encode("a.mov", *sources, *squeezed, size="6000x6000", seconds=1)
    small = good.encode("a.avi", *sources, "-c:v", "mjpeg", "-c:a", "pcm_s16le", size="160x144", seconds=9)
    wrong_size = small.replace(struct.pack("<ii", 160, 144), struct.pack("<ii", 16000, 16000))
    yield "says 16000x16000", wrong_size.replace(struct.pack(">HH", 144, 160), struct.pack(">HH", 16000, 16000))
    yield "says 4096x4096", small.replace(struct.pack(">HH", 144, 160), struct.pack(">HH", 4096, 4096))
