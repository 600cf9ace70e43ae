"""What a recognition server answers is put in order before it is used."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import CaptionsUnavailable
from adnerf_core.speech.speak import SpokenPassage
from adnerf_core.speech.timing import words_of
from worker.speech.transcriber import MOST_LETTERS_PER_S, in_order


def test_passages_follow_each_other_within_the_sound_and_no_text_is_lost():
    told = [
        (4.0, 90.0, "end"),
        (0.5, 2.0, "one"),
        (1.0, 3.0, "two"),
        (1.5, 1.5, "three"),
        (-7.0, 0.4, "zero"),
        (2.0, 3.0, ""),
    ]
    assert in_order(told, 10.0) == [
        (0.0, 0.4, "zero"),
        (0.5, 2.0, "one"),
        (2.0, 3.0, "two three"),
        (4.0, 10.0, "end"),
    ]
    (late,) = in_order([(20.0, 30.0, "too late")], 10.0)
    assert [word.text for word in words_of(SpokenPassage(*late), np.zeros(SAMPLE_RATE), 9.5)] == ["too", "late"]


@pytest.mark.parametrize(
    "segments", [[(math.nan, 1.0, "a")], [(0.0, math.inf, "a")], [(0.0, 1.0, "a" * 3000)]], ids=["nan", "inf", "long"]
)
def test_an_answer_that_cannot_be_true_is_refused(segments):
    with pytest.raises(CaptionsUnavailable):
        in_order(segments, 10.0)


def test_the_time_of_words_grows_with_the_sound_alone(monkeypatch):
    """As many words and pauses as an answer may have; every pause was compared with every word."""
    seconds = 600
    sound = np.tile(
        np.r_[np.random.default_rng(0).normal(0, 0.3, SAMPLE_RATE // 8), np.zeros(SAMPLE_RATE // 8)], 4 * seconds
    )
    text = "a " * int(seconds * MOST_LETTERS_PER_S / 2)
    begun = time.process_time()
    words = words_of(SpokenPassage(0.0, float(seconds), text), sound)
    assert len(words) == len(text) // 2 and time.process_time() - begun < 2.0
