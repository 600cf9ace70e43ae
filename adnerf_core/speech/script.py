"""Scripts: the text that a video is to say, cut into passages that are read one by one."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

MAX_SCRIPT = 10_000
"""Characters of a script: about eleven minutes of speech, more than a clip of a talking head lasts."""
SENTENCE_PAUSE_S, PARAGRAPH_PAUSE_S = 0.25, 0.7
"""Pauses after a sentence and after a paragraph, s, in addition to the silence that a voice itself ends with."""
MAX_PAUSE_S = 10.0
"""Longest pause that a script can ask for, s: longer ones are mistakes of writing more often than they are meant."""
MAX_PAUSES_S = 600.0
"""Longest time that all pauses of a script may ask for together, s: a script of nothing but pauses would be hours of silence."""
LONGEST_PASSAGE = 300
"""Characters of a passage, beyond which it is cut at a clause or a word: engines take time and memory that grow with it."""

_PAUSE = re.compile(r"\[pause(?:[ :]+(\d+(?:\.\d+)?) ?s?)?\]", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"”’»)\]]*\s+(?=\S)|(?<=[。！？])\s*(?=\S)")
_CLAUSE_END = re.compile(r"(?<=[,;:—–，；：、])\s*")
# From the first space on: a search from each one takes a second.
_SPACE_BEFORE_MARK = re.compile(r"(?<!\s)\s+(?=[.,!?…])")
_ABBREVIATIONS = {
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "vs", "etc", "e.g", "i.e",
    "no", "fig", "vol", "approx", "dept", "inc", "ltd", "co", "jan", "feb", "mar", "apr",
    "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec",
}  # fmt: skip
"""Words, in small letters, whose full stop does not end a sentence."""


class Passage(NamedTuple):
    """A sentence or a part of one, and the pause after it in seconds. `text` is empty for a pause alone."""

    text: str
    pause_s: float


def says_something(script: str) -> bool:
    """Returns whether a script has a letter or a digit outside its pauses: without one there is nothing to read."""
    return any(unicodedata.category(char)[0] in "LN" for char in _PAUSE.sub(" ", script))


def pauses_s(script: str) -> float:
    """Returns the time that the pauses of a script ask for, s, at a speed of 1; those between sentences do not count."""
    return sum(_length_s(match[1]) for match in _PAUSE.finditer(script))


def _length_s(seconds: str | None) -> float:
    """Returns the length of a pause of so many seconds, or of one that says nothing of them."""
    return min(float(seconds or 1.0), MAX_PAUSE_S)


def passages(script: str) -> list[Passage]:
    """Cuts a script into passages. Emoji and other pictures are left out, and white space is one space.

    `[pause]` and `[pause 1.5s]` are pauses; an empty line ends a paragraph.
    """
    found: list[Passage] = []
    for paragraph in re.split(r"\n\s*\n", unicodedata.normalize("NFC", script)):
        pieces = _PAUSE.split(paragraph)
        for i, piece in enumerate(pieces):
            if i % 2:  # the seconds of a pause, or None
                found.append(Passage("", _length_s(piece)))
                continue
            for line in piece.splitlines():
                found += _sentences(_readable(line))
        if found:
            found[-1] = found[-1]._replace(pause_s=max(found[-1].pause_s, PARAGRAPH_PAUSE_S))
    return found


def _readable(text: str) -> str:
    """Returns the text without symbols that are pictures, controls, and the marks that belong to them."""
    kept = "".join(" " if _is_picture(char) else char for char in text)
    if kept != text:
        kept = _SPACE_BEFORE_MARK.sub("", kept)  # "fine 😀." is "fine."
    return " ".join(kept.split())


def _is_picture(char: str) -> bool:
    category = unicodedata.category(char)
    return (
        category in ("So", "Cc", "Cf", "Cs", "Co", "Cn", "Me")
        or 0xFE00 <= ord(char) <= 0xFE0F
        or "\U0001f3fb" <= char <= "\U0001f3ff"
    )


def _sentences(text: str) -> list[Passage]:
    sentences, start = [], 0
    for match in _SENTENCE_END.finditer(text):
        if _ends_sentence(text[start : match.start()], text[match.end() :]):
            sentences.append(text[start : match.end()].strip())
            start = match.end()
    sentences.append(text[start:].strip())
    result = []
    for sentence in filter(says_something, sentences):
        *parts, last = _short(sentence)
        result += [Passage(part, 0.0) for part in parts] + [Passage(last, SENTENCE_PAUSE_S)]
    return result


def _ends_sentence(before: str, after: str) -> bool:
    """Whether the punctuation between the two ends a sentence: not after a title, an initial or an abbreviation."""
    if after[:1].islower():
        return False
    if not before.endswith("."):
        return True
    word = before.rpartition(" ")[2].strip("(\"“'‘").removesuffix(".")
    return word.lower() not in _ABBREVIATIONS and not (len(word) == 1 and word.isupper())


def _short(sentence: str) -> list[str]:
    """Cuts a sentence into parts of at most LONGEST_PASSAGE characters, at clauses if possible, else at words, else anywhere."""
    parts: list[str] = []
    for separator in (_CLAUSE_END, re.compile(r"\s+"), re.compile(r"")):
        if len(sentence) <= LONGEST_PASSAGE:
            break
        parts = []
        for piece in separator.split(sentence):
            if parts and len(parts[-1]) + len(piece) < LONGEST_PASSAGE:
                parts[-1] += (" " if separator.pattern else "") + piece
            elif piece:
                parts.append(piece)
        if all(len(part) <= LONGEST_PASSAGE for part in parts):
            break
    return [part for part in map(str.strip, parts or [sentence]) if says_something(part)] or [sentence]
