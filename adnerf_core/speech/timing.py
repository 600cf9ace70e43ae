"""When each word of a passage is said, from the text and the sound: words take time by their letters, and pauses are heard."""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from adnerf_core.audio.chunking import RATE
from adnerf_core.audio.phonemes import voice_activity
from adnerf_core.speech.speak import SpokenPassage

SHORTEST_PAUSE_S = 0.08
"""Silence that can be a pause between words, s: the closures of stops within words are shorter."""
NEAR_S = {True: 0.5, False: 0.12}
"""How far a pause may be from where the letters let a word end, s: after punctuation, where a reader pauses, and elsewhere."""
DIGIT_LETTERS = 3.0
"""Letters that the name of a digit has on average."""

_WORD = re.compile(
    r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u3040-\u30ff][^\w\s]*|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\u3040-\u30ff]+"
)
"""A word with its punctuation; a character of a script that is written without spaces is a word."""


class Word(NamedTuple):
    """A word with its punctuation, the times at which it begins and ends (s), and whether a space stands before it."""

    start_s: float
    end_s: float
    text: str
    spaced: bool


def words_of(passage: SpokenPassage, samples: Float[np.ndarray, " samples"], offset_s: float = 0.0) -> list[Word]:
    """Returns the words of a passage with their times.

    Args:
        passage: the text, and when it begins and ends.
        samples: the sound, mono at SAMPLE_RATE.
        offset_s: time of its first sample.
    """
    matches = list(_WORD.finditer(passage.text))
    if not matches:
        return []
    first, last = (max(0, round((time - offset_s) * RATE)) for time in passage[:2])
    active = voice_activity(samples)[first:last] > 0.5
    ends = _ends([match[0] for match in matches], active, len(active) or last - first)
    words, start = [], 0
    for match, end in zip(matches, ends, strict=True):
        while start < min(end, len(active)) - 1 and not active[start]:  # a pause belongs to neither word
            start += 1
        spaced = match.start() > 0 and passage.text[match.start() - 1].isspace()
        words.append(Word(passage.start_s + start / RATE, passage.start_s + end / RATE, match[0], spaced))
        start = end
    return words


def _ends(words: list[str], active: Bool[np.ndarray, " steps"], steps: int) -> list[int]:
    """Returns the step at which each word ends. Between two pauses, words share the sound by their letters."""
    weights = np.cumsum([_weight(word) for word in words])
    spoken = np.r_[0, np.cumsum(active)] if active.any() else np.arange(steps + 1)
    places = np.searchsorted(spoken, weights / weights[-1] * spoken[-1])
    anchors, at = {len(words) - 1: len(spoken) - 1}, -1
    reach = max(NEAR_S.values()) * RATE
    for pause in _pauses(active):  # each is given to the word that ends nearest to it
        first, last = np.searchsorted(places, (pause - reach, pause + reach))
        candidates = range(max(at + 1, int(first)), min(len(words) - 1, int(last) + 1))
        near = [(abs(places[k] - pause) / (NEAR_S[_is_clause(words[k])] * RATE), k) for k in candidates]
        distance, k = min(near, default=(np.inf, 0))
        if distance < 1:
            anchors[k], at = pause, k
    known = sorted(anchors)
    shares = np.interp(weights, np.r_[0, weights[known]], np.r_[0, [spoken[anchors[k]] for k in known]])
    return [int(each) for each in np.searchsorted(spoken, np.round(shares))]


def _pauses(active: Bool[np.ndarray, " steps"]) -> list[int]:
    """Returns the first step of each silence within the speech."""
    (steps,) = np.nonzero(active)
    return [int(step) + 1 for step in steps[np.flatnonzero(np.diff(steps) > SHORTEST_PAUSE_S * RATE)]]


def _is_clause(word: str) -> bool:
    return not word[-1].isalnum()


def _weight(word: str) -> float:
    """The length of a word in letters: a character of Chinese is a syllable, and a digit is a word."""
    total = 0.5  # between words
    for char in word:
        if char.isdigit():
            total += DIGIT_LETTERS
        elif char.isalpha():
            total += 2.5 if unicodedata.east_asian_width(char) == "W" else 1.0
    return total
