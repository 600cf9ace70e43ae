"""A script is cut where a reader would breathe, and nothing that people write breaks it."""

from __future__ import annotations

import pytest

from adnerf_core.speech.script import LONGEST_PASSAGE, passages, pauses_s, says_something


def texts(script):
    return [passage.text for passage in passages(script)]


def test_sentences_end_where_they_end():
    script = 'Dr. Smith paid $9.99 at 7:30 pm, e.g. on Monday. J. K. Rowling said "hi." Then… what? 你好。再见！ Done'
    assert texts(script) == [
        "Dr. Smith paid $9.99 at 7:30 pm, e.g. on Monday.",
        'J. K. Rowling said "hi."',
        "Then… what?",
        "你好。",
        "再见！",
        "Done",
    ]


def test_pauses_are_asked_for_and_stand_between_paragraphs():
    pauses = [
        (passage.text, passage.pause_s) for passage in passages("One. Two[pause 1.5s]three[PAUSE]\n\nFour [pause 99]")
    ]
    assert pauses == [("One.", 0.25), ("Two", 0.25), ("", 1.5), ("three", 0.25), ("", 1.0), ("Four", 0.25), ("", 10.0)]


def test_the_pauses_that_a_script_asks_for_are_counted():
    assert pauses_s("One. Two[pause 1.5s]three[PAUSE]\n\nFour [pause 99]") == 1.5 + 1.0 + 10.0


def test_pictures_and_invisible_marks_are_left_out():
    assert texts("Hi 😀👍🏽 there ❤️!\n👨‍👩‍👧 ok") == ["Hi there!", "ok"]


@pytest.mark.parametrize("script", ["", "…!?", "😀 👍", "[pause 3s]", "— – -", "\n\n"])
def test_a_script_without_a_letter_or_digit_says_nothing(script):
    assert not says_something(script)
    assert all(not passage.text for passage in passages(script))


@pytest.mark.parametrize("script", ["a", "7", "你", "é", "ß😀"])
def test_one_letter_is_enough(script):
    assert says_something(script) and texts(script)


@pytest.mark.parametrize("script", ["word " * 2000, "a, " * 3000, "x" * 10_000, "没有空格的长句" * 1000])
def test_long_sentences_are_cut_and_no_letter_is_lost(script):
    parts = texts(script)
    assert max(map(len, parts)) <= LONGEST_PASSAGE
    assert "".join("".join(parts).split()) == "".join(script.split())
