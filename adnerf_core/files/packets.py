"""The packets of a file's streams, counted and timed: what a file really holds, whatever its headers say.

ffmpeg writes one line for each packet (its format `framecrc`, which its own tests are made of and which all versions write alike).
What ffmpeg prints for people differs: version 7 no longer counts the frames of streams that are copied.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

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

    @property
    def seconds(self) -> float:
        """The time from the start of the first packet to the end of the last one, s."""
        return max(0.0, self.end_s - self.start_s) if self.count else 0.0


class TooManyPackets(Exception):
    """There are more than MAX_PACKETS."""


@dataclass
class _Ticks:
    """The packets of one stream so far, in the unit of its times."""

    unit: Fraction = Fraction(1)
    count: int = 0
    start: int | None = None
    end: int = 0
    decoded: int = NO_TIME
    stopped: int = 0
    part: int | None = None

    def shortest_part(self) -> int | None:
        """The length of the shortest recording, if that of the last packets counts."""
        if self.stopped * self.unit <= SHORTEST_PART_S:
            return self.part
        return self.stopped if self.part is None else min(self.part, self.stopped)

    def packets(self) -> Packets:
        start = math.inf if self.start is None else float(self.start * self.unit)
        return Packets(self.count, start, float(self.end * self.unit), float((self.shortest_part() or 0) * self.unit))


def read_packets(lines: Iterable[bytes]) -> dict[int, Packets]:
    """Reads what `-f framecrc` writes.

    Args:
        lines: the lines, as bytes.

    Returns:
        The packets of each stream, by its number in the output.

    Raises:
        TooManyPackets: beyond MAX_PACKETS.
    """
    streams: defaultdict[int, _Ticks] = defaultdict(_Ticks)
    for number, line in enumerate(lines):
        if number > MAX_PACKETS:
            raise TooManyPackets
        fields = line.split(b",", 4)
        if len(fields) < 5:  # a header such as `#tb 0: 1/1000`; or the process was killed in the middle of a line
            if unit := re.match(rb"#tb (\d+): (\d+)/(\d+)", line):
                streams[int(unit[1])].unit = Fraction(int(unit[2]), int(unit[3]))
            continue
        stream, dts, pts, duration = streams[int(fields[0])], int(fields[1]), int(fields[2]), max(0, int(fields[3]))
        stream.count += 1
        time = dts if pts == NO_TIME else pts
        if time != NO_TIME:
            stream.start = time if stream.start is None or time < stream.start else stream.start
            stream.end = max(stream.end, time + duration)
        if dts == NO_TIME:
            continue
        if dts <= stream.decoded:  # ffmpeg writes no time before the last one: it stops the clock instead
            stream.stopped += duration
        else:
            if stream.stopped:
                stream.part, stream.stopped = stream.shortest_part(), 0
            stream.decoded = dts
    return {index: stream.packets() for index, stream in streams.items()}
