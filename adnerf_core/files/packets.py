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


SHORTEST_PART_S = 0.3
"""Shortest recording that is looked for, s. Damaged files repeat some times, too."""


@dataclass
class Packets:
    """The packets of one stream.

    Attributes:
        count: their number.
        start_s: time of the first one in the order of display, s; infinity without packets.
        end_s: time at which the last one ends, s.
        part_s: length of the shortest recording after which the times start again, s; 0 if they do not.
    """

    count: int = 0
    start_s: float = math.inf
    end_s: float = 0.0
    part_s: float = 0.0
    _tick: float = field(default=1.0, repr=False)

    _decoded: int = field(default=NO_TIME, repr=False)
    _stopped_s: float = field(default=0.0, repr=False)

    def add(self, dts: int, pts: int, duration: int) -> None:
        """Adds a packet with its times of decoding and display and its duration, in ticks."""
        self.count += 1
        time, seconds = pts if pts != NO_TIME else dts, max(0, duration) * self._tick
        if time != NO_TIME:
            self.start_s = min(self.start_s, time * self._tick)
            self.end_s = max(self.end_s, time * self._tick + seconds)
        if dts == NO_TIME:
            return
        if dts <= self._decoded:  # ffmpeg writes no time that lies before the last one: it stops the clock instead
            self._stopped_s += seconds
        else:
            if self._stopped_s > SHORTEST_PART_S:
                self.part_s = min(self.part_s or math.inf, self._stopped_s)
            self._stopped_s = 0.0
            self._decoded = dts

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
        streams.setdefault(index, Packets()).add(dts, pts, duration)
    for stream in streams.values():
        if stream._stopped_s > SHORTEST_PART_S:
            stream.part_s = min(stream.part_s or math.inf, stream._stopped_s)
    return streams


def _read_header(line: bytes, streams: dict[int, Packets]) -> None:
    """Reads a line such as `#tb 0: 1/1000`, the unit of a stream's times."""
    name, _, value = line.decode(errors="replace").removeprefix("#").strip().partition(": ")
    key, _, index = name.partition(" ")
    if key == "tb":
        numerator, denominator = (int(each) for each in value.split("/"))
        streams.setdefault(int(index), Packets())._tick = numerator / denominator
