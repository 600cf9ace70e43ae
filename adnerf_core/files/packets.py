"""The packets of a file's streams, counted and timed: what a file really holds, whatever its headers say.

ffmpeg writes one line for each packet (its format `framecrc`, which its own tests are made of and which all versions write alike).
What ffmpeg prints for people differs: version 7 no longer counts the frames of streams that are copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

NO_TIME = -(1 << 63)
"""ffmpeg's value of a time that is unknown."""

MAX_PACKETS = 30_000_000
"""Packets of all streams that are counted: a hundred times those of the longest film. Each takes a microsecond, so that a file of
nothing but tiny packets would occupy a core for long."""


@dataclass
class Packets:
    """The packets of one stream.

    Attributes:
        count: their number.
        start_s: time of the first one in the order of display, s; infinity without packets.
        end_s: time at which the last one ends, s.
        size: of the pictures, px; (0, 0) for sound.
    """

    count: int = 0
    start_s: float = math.inf
    end_s: float = 0.0
    size: tuple[int, int] = (0, 0)
    _tick: float = field(default=1.0, repr=False)

    @property
    def seconds(self) -> float:
        """The time from the start of the first packet to the end of the last one, s."""
        return max(0.0, self.end_s - self.start_s) if self.count else 0.0


class TooManyPackets(Exception):
    """There are more than MAX_PACKETS."""


def read_packets(lines: Iterable[bytes]) -> dict[int, Packets]:
    """Reads what `-f framecrc` writes.

    Args:
        lines: the lines, as bytes.

    Returns:
        The packets of each stream, by its number in the output.

    Raises:
        TooManyPackets: beyond MAX_PACKETS.
    """
    streams: dict[int, Packets] = {}
    total = 0
    for line in lines:
        if line.startswith(b"#"):
            _read_header(line, streams)
            continue
        fields = line.split(b",", 4)
        if len(fields) < 5:  # the process was killed in the middle of a line
            continue
        total += 1
        if total > MAX_PACKETS:
            raise TooManyPackets
        index, dts, pts, duration = (int(each) for each in fields[:4])
        stream = streams.setdefault(index, Packets())
        stream.count += 1
        time = pts if pts != NO_TIME else dts
        if time != NO_TIME:
            start = time * stream._tick
            stream.start_s = min(stream.start_s, start)
            stream.end_s = max(stream.end_s, start + max(0, duration) * stream._tick)
    return streams


def _read_header(line: bytes, streams: dict[int, Packets]) -> None:
    """Reads a line such as `#tb 0: 1/1000` or `#dimensions 0: 640x480`."""
    name, _, value = line.decode(errors="replace").removeprefix("#").strip().partition(": ")
    key, _, index = name.partition(" ")
    if key == "tb":
        numerator, denominator = (int(each) for each in value.split("/"))
        streams.setdefault(int(index), Packets())._tick = numerator / denominator
    elif key == "dimensions":
        width, height = (int(each) for each in value.split("x"))
        streams.setdefault(int(index), Packets()).size = (width, height)
