"""Recorded English becomes words in time; other speech and noise are refused. The recordings are synthetic."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import resample_poly

from adnerf_core.config import SAMPLE_RATE
from adnerf_core.errors import CaptionsUnavailable
from adnerf_core.speech.recognition import MoonshineRecogniser
from demo import speech


@pytest.fixture(scope="module")
def recogniser():
    return MoonshineRecogniser()


def spoken(text, voice="en-us+f3"):
    made = speech.speak(text, voice=voice)
    return resample_poly(made.samples, SAMPLE_RATE, made.rate).astype(np.float32)


def pieces(sound):
    """The sound in arrays of odd lengths, as decoding brings it."""
    return np.split(sound, range(0, len(sound), 4321))


def test_phrases_are_heard_at_their_times_wherever_windows_end(recogniser):
    first = spoken("Good morning, today is a beautiful day.")
    second = spoken("We will walk through the park together with our friends.")
    gap = np.zeros(59 * SAMPLE_RATE - len(first), np.float32)
    heard = recogniser(pieces(np.concatenate([first, gap, second])))
    assert heard[0].text == "Good morning, today is a beautiful day."
    assert " ".join(each.text for each in heard[1:]).endswith("walk through the park together with our friends.")
    assert heard[0].start_s == pytest.approx(0.3, abs=0.15) and heard[0].end_s == pytest.approx(
        len(first) / SAMPLE_RATE - 0.3, abs=0.25
    )
    assert heard[1].start_s == pytest.approx(59.3, abs=0.15)


def test_other_languages_noise_and_silence_are_refused(recogniser):
    noise = np.random.default_rng(0).standard_normal(6 * SAMPLE_RATE).astype(np.float32) * 0.1
    for sound in (noise, spoken("Добрый день, сегодня прекрасная погода и мы пойдем гулять в парк.", "ru")):
        with pytest.raises(CaptionsUnavailable, match="not recognised as English"):
            recogniser(pieces(sound))
    with pytest.raises(CaptionsUnavailable, match="No speech"):
        recogniser([np.zeros(3 * SAMPLE_RATE, np.float32)])
