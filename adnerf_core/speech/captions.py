"""Captions: words become lines of a readable length, which are written as SubRip or WebVTT."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

from adnerf_core.speech.timing import Word

LINE_WIDTH = 42
"""Columns of a line of a caption file, as broadcasters have them; a character of Chinese, Japanese or Korean takes two."""
LINES = 2
"""Lines of a caption."""
LONGEST_S, SHORTEST_S = 6.0, 1.0
"""Bounds of the time for which a caption is shown, s: a longer one was read long ago, a shorter one flickers."""
GAP_S = 0.7
"""Pause that ends a caption, s."""
HOLD_S = 0.3
"""Time for which a caption stays after its last word, s, unless the next one begins."""


class Cue(NamedTuple):
    """A caption, and when it is shown, s. Its lines are separated by line feeds."""

    start_s: float
    end_s: float
    text: str


def make_cues(words: Sequence[Word], duration_s: float, line_width: int = LINE_WIDTH) -> list[Cue]:
    """Returns the captions of a video.

    Args:
        words: in order of time.
        duration_s: length of the video; no caption is shown later.
        line_width: most columns of a line.
    """
    cues: list[Cue] = []
    groups = _groups(words, line_width)
    for k, group in enumerate(groups):
        start = group[0].start_s
        limit = groups[k + 1][0].start_s if k + 1 < len(groups) else duration_s
        end = min(max(group[-1].end_s + HOLD_S, start + SHORTEST_S), limit, duration_s)
        if end > start:
            cues.append(Cue(start, end, "\n".join(_lines(group, line_width))))
    return cues


def _groups(words: Sequence[Word], line_width: int) -> list[list[Word]]:
    """Returns the words of each caption: it ends at sentences and pauses, and before it is too long; then at a clause if there is one."""
    groups: list[list[Word]] = []
    group: list[Word] = []
    for word in words:
        too_long = group and (
            len(_lines([*group, word], line_width)) > LINES or word.end_s - group[0].start_s > LONGEST_S
        )
        if too_long:
            cut = _clause_end(group)
            groups.append(group[:cut])
            group = group[cut:]
        if group and (word.start_s - group[-1].end_s > GAP_S or group[-1].text[-1:] in ".!?…。！？"):
            groups.append(group)
            group = []
        group.append(word)
    return [*groups, group] if group else groups


def _clause_end(group: list[Word]) -> int:
    """Returns how many words of a caption that is too long are kept: up to a clause in its second half, else all."""
    for k in range(len(group), len(group) // 2, -1):
        if group[k - 1].text[-1:] in ",;:—–，；：、":
            return k
    return len(group)


def _lines(words: Sequence[Word], line_width: int) -> list[str]:
    """Returns the words as lines: greedily, and two lines as equal as they can be."""
    lines = _filled(words, line_width)
    if len(lines) != 2:
        return lines
    widths = range(max(1, line_width // 3), line_width)
    return next((each for width in widths if len(each := _filled(words, width)) == 2), lines)


def _filled(words: Sequence[Word], line_width: int) -> list[str]:
    lines = [""]
    for word in words:
        longer = f"{lines[-1]} {word.text}" if word.spaced and lines[-1] else lines[-1] + word.text
        if lines[-1] and columns(longer) > line_width:
            lines.append(word.text)
        else:
            lines[-1] = longer
    return lines


def columns(text: str) -> int:
    """Returns the columns that a text takes."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text if not unicodedata.combining(char)
    )


def caption_file(cues: Sequence[Cue], kind: Literal["srt", "vtt"]) -> str:
    """Returns a caption file, SubRip or WebVTT. Signs that would be markup are written as entities in WebVTT, and kept in SubRip."""
    if kind == "srt":
        blocks = [
            f"{n}\n{_time(cue.start_s, ',')} --> {_time(cue.end_s, ',')}\n{cue.text}\n" for n, cue in enumerate(cues, 1)
        ]
        return "\n".join(blocks)
    blocks = ["WEBVTT\n"]
    for cue in cues:
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_time(cue.start_s, '.')} --> {_time(cue.end_s, '.')}\n{text}\n")
    return "\n".join(blocks)


def _time(seconds: float, separator: str) -> str:
    ms = round(seconds * 1000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{separator}{ms % 1000:03}"
