from __future__ import annotations

import numpy as np

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.preprocess.offscreen_sound import offscreen, silenced, still_lips
from tests.adnerf_core import clips

HOP, FACE_PX = SAMPLE_RATE // FPS, 200.0


def test_another_voice_is_found_and_silenced_where_the_lips_are_still():
    opening = clips.syllables(20 * FPS, seed=4)
    asks = slice(8 * FPS, 13 * FPS)
    other = np.zeros_like(opening)
    other[asks], opening[asks] = clips.syllables(5 * FPS, seed=5), 0.0
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(opening))
    samples, lips = clips.voice(opening) + 0.5 * clips.voice(other), opening + noise
    found = offscreen(samples, lips, FACE_PX)
    assert found[9 * FPS : 12 * FPS].mean() > 0.9
    assert not found[: asks.start - 12].any() and not found[asks.stop + 12 :].any()  # but pauses beside the question
    quiet = silenced(samples, found)
    assert (
        np.abs(quiet[9 * SAMPLE_RATE : 12 * SAMPLE_RATE]).mean()
        < 0.1 * np.abs(samples[9 * SAMPLE_RATE : 12 * SAMPLE_RATE]).mean()
    )
    untouched = np.repeat(~found, HOP)
    assert np.abs(quiet - samples)[untouched].mean() < 0.001

    assert not offscreen(clips.voice(opening), lips, FACE_PX).any()  # a pause, in which nothing is heard
    lips[asks] = np.nan  # nobody is seen
    assert not offscreen(samples, lips, FACE_PX).any()


def test_somebody_who_speaks_has_no_still_lips():
    assert not still_lips(clips.syllables(30 * FPS, seed=6), FACE_PX).any()
    assert not still_lips(np.full(100, np.nan), FACE_PX).any() and not still_lips(np.zeros(10), FACE_PX).any()


def test_lips_of_a_small_face_must_rest_longer():
    opening = clips.syllables(12 * FPS, seed=7)
    opening[4 * FPS : 6 * FPS + 5] *= 0.1  # so little that it is not seen at such a size
    assert still_lips(opening, FACE_PX).any() and not still_lips(opening, 80.0).any()
    opening[4 * FPS : 8 * FPS] = 0.0
    assert still_lips(opening, 80.0).any()
