"""Captions have lines that can be read, at the time when they are said, in files that players understand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from adnerf_core.speech.captions import Cue, caption_file, columns, make_cues
from adnerf_core.speech.speak import SpokenPassage
from adnerf_core.speech.timing import Word, words_of

TEXT = (
    "The committee, which had been formed in the spring, decided after a long debate that the old bridge would be repaired. "
    "Nobody was happy. Everybody agreed!"
)


def even(text, word_s=0.35, spaced=True):
    """Words that follow each other without pauses."""
    return [Word(k * word_s, (k + 1) * word_s, word, spaced) for k, word in enumerate(text.split())]


@pytest.mark.parametrize("width", [16, 28, 42])
def test_cues_hold_all_words_in_readable_lines_that_do_not_overlap(width):
    words = even(TEXT)
    cues = make_cues(words, words[-1].end_s + 1, width)
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == TEXT
    for cue, following in zip(cues, [*cues[1:], None], strict=True):
        lines = cue.text.split("\n")
        assert len(lines) <= 2 and max(map(columns, lines)) <= width
        assert cue.start_s < cue.end_s <= (following.start_s if following else words[-1].end_s + 1)
    assert [cue.text for cue in cues if cue.text.startswith(("Nobody", "Everybody"))]  # a sentence begins a caption


def test_two_lines_are_alike_and_a_long_word_has_its_own():
    (cue,) = make_cues(even("one two three four five six seven eight nine"), 9.0)
    first, second = cue.text.split("\n") if "\n" in cue.text else (cue.text, "")
    assert not second or abs(len(first) - len(second)) < 10
    assert make_cues(even("a " + "x" * 50 + " b"), 9.0, 20)[0].text.split("\n")[1:] == ["x" * 50]


def test_characters_of_chinese_are_wide_and_need_no_spaces():
    text = "委员会决定修复旧桥而不是建造新桥，大家都很高兴。"
    words = words_of(SpokenPassage(0.0, 5.0, text), np.ones(80_000, np.float32))
    assert "".join(word.text for word in words) == text and len(words) > 20
    cues = make_cues(words, 5.0, 20)
    assert "".join(cue.text for cue in cues).replace("\n", "") == text
    assert max(columns(line) for cue in cues for line in cue.text.split("\n")) <= 22  # a mark stays with its character


def test_a_pause_is_given_to_the_word_before_it():
    """Two groups of words with silence between them: the letters alone would let the third word begin in the first group."""
    rate = 16_000
    sound = np.random.default_rng(0).standard_normal(4 * rate).astype(np.float32) * 0.1
    sound[rate : 3 * rate] = 0
    words = words_of(SpokenPassage(0.0, 4.0, "Hello, everybody there"), sound)
    assert words[0].end_s == pytest.approx(1.0, abs=0.06) and words[1].start_s == pytest.approx(3.0, abs=0.06)
    assert [word.text for word in words] == ["Hello,", "everybody", "there"] and words[2].end_s == pytest.approx(
        4.0, abs=0.1
    )


CUES = [Cue(0.0, 1.2344, "One <b>\n& two"), Cue(3661.5, 3662.0, "Three -- four")]


def test_files_are_subrip_and_webvtt():
    assert caption_file(CUES, "srt") == (
        "1\n00:00:00,000 --> 00:00:01,234\nOne <b>\n& two\n\n2\n01:01:01,500 --> 01:01:02,000\nThree -- four\n"
    )
    assert caption_file(CUES, "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\nOne &lt;b&gt;\n&amp; two\n\n01:01:01.500 --> 01:01:02.000\nThree -- four\n"
    )
    assert not re.search("-->.*-->", caption_file([Cue(0, 1, "a --> b")], "vtt").splitlines()[3])
