"""Finds interlaced pictures by what they show: many files hold them without saying so, and others say so of progressive ones.

An interlaced picture consists of two fields, the even and the odd rows, which were taken one after the other. A row of the later field
fits as well between the rows of the next picture's earlier field as between those of its own, and not at all between those of the picture
before. In progressive pictures the one before and the next are equally far away, whatever stripes they show: that tells the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import cv2
import numpy as np
from jaxtyping import UInt8

from adnerf_core.files.ffmpeg_process import running, untrusted_input

PLACES, PICTURES = 4, 8
"""Places at which a film is looked at, evenly spread, and the consecutive pictures at each: somebody moves in some of them."""

MIN_CHANGE, MIN_MOVING = 12, 0.002
"""Change over two pictures, grey levels, from which a pixel moves, and the share of pixels that must move: where nothing does, the two
kinds do not differ."""

MIN_LEAN = 0.1
"""Difference of the two orders over their sum from which a picture is interlaced (docs/footage.md)."""

MIN_SHARE, MIN_SEEN = 0.3, 3
"""Share of the pictures with motion, and their least number, that must be interlaced in one order: films that became video hold two such
pictures in five. Hardly any may be interlaced in the other order."""

MAX_CONTRARY = 0.1
"""Share of the pictures with motion that may lean towards the other order: in progressive video half of those that lean at all do."""

PROGRESSIVE, PROGRESSIVE_SEEN, PROGRESSIVE_LEAN = "progressive", 6, 0.03
"""What order_of() returns for certainly progressive pictures; how many with motion that takes; and how far they lean on average, at most: woven
pictures lean by 0.07 and more, also with noise (docs/footage.md)."""


def field_order(path: Path, stream: int, duration_s: float) -> str:
    """Returns which field of a film's pictures was taken first, `tff` (the even rows) or `bff`, or PROGRESSIVE; empty if they do not tell.

    Args:
        path: the file.
        stream: which of its video streams is looked at, from 0 on.
        duration_s: its length, s.
    """
    leans = []
    for place in range(PLACES):
        pictures = list(_pictures(path, stream, duration_s * place / PLACES))
        leans += [
            lean
            for triple in zip(pictures, pictures[1:], pictures[2:], strict=False)
            if (lean := lean_of(*triple)) is not None
        ]
    return order_of(leans)


def order_of(leans: Sequence[float]) -> str:
    """Returns the order of fields that pictures agree on, as field_order() does; for each, how it leans to an order, see lean_of()."""
    if len(leans) < MIN_SEEN:
        return ""
    first, second = (float(np.mean(sign * np.array(leans) > MIN_LEAN)) for sign in (1, -1))
    if max(first, second) >= MIN_SHARE and min(first, second) <= MAX_CONTRARY:
        return "tff" if first > second else "bff"
    certain = len(leans) >= PROGRESSIVE_SEEN and max(first, second) <= MAX_CONTRARY
    return PROGRESSIVE if certain and abs(np.mean(leans)) < PROGRESSIVE_LEAN else ""


def lean_of(
    before: UInt8[np.ndarray, "height width"],
    now: UInt8[np.ndarray, "height width"],
    after: UInt8[np.ndarray, "height width"],
) -> float | None:
    """Returns how much the middle one of three consecutive pictures looks interlaced, -1..1; None if hardly anything moves.

    It is positive if the even rows were taken first, and about 0 in progressive pictures.
    """
    moving = cv2.absdiff(before[1:-1], after[1:-1]) > MIN_CHANGE
    if moving.mean() < MIN_MOVING:
        return None
    around = now[:-2].astype(np.int16) + now[2:]
    misfit = [np.where(moving, np.abs(around - 2 * rows[1:-1].astype(np.int16)), 0) for rows in (before, after)]
    # Row 0 of these is row 1 of the picture, so that the even ones belong to the field of odd rows.
    odd_before, even_before, odd_after, even_after = (
        float(each[start::2].sum(dtype=np.int64)) for each in misfit for start in (0, 1)
    )
    even_first, odd_first = odd_before + even_after, even_before + odd_after
    return (odd_first - even_first) / max(1.0, odd_first + even_first)


def _pictures(path: Path, stream: int, start_s: float) -> Iterator[np.ndarray]:
    """The brightness of some pictures from `start_s` on, as they are stored."""
    source = untrusted_input(path, noautorotate=None, **({"ss": start_s} if start_s else {}))
    options = {"format": "image2pipe", "c:v": "pgm", "pix_fmt": "gray", "fps_mode": "passthrough", "frames:v": PICTURES}
    with running(source[f"V:{stream}"].output("pipe:1", **options)) as child:
        while (picture := _read_pgm(child.stdout)) is not None:
            yield picture


def _read_pgm(stream: IO[bytes]) -> np.ndarray | None:
    """Reads one picture of netpbm's grey format, every other column of it; None at the end."""
    header = [stream.readline() for _ in range(3)]  # P5, the size, the largest value
    if not header[2]:
        return None
    width, height = map(int, header[1].split())
    data = stream.read(width * height)
    if len(data) < width * height:
        return None
    return np.frombuffer(data, np.uint8).reshape(height, width)[:, ::2]
