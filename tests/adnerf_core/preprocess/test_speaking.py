"""One person who is seen twice, in a mirror or on a screen, is told from two who speak."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core.config import FPS
from adnerf_core.preprocess.people import Face
from adnerf_core.preprocess.speaking import Lips, are_one
from adnerf_core.preprocess.takes import Span
from tests.adnerf_core import clips

FRAMES = 8 * FPS
FACE = Face(Span(0, FRAMES))
ANN, BOB = (0.05 * clips.syllables(FRAMES, seed=seed) for seed in (1, 2))
NOISE = np.random.default_rng(0).normal(size=FRAMES) * 0.004
GAPS = np.where(np.arange(FRAMES) % 40 < 8, np.nan, 0)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (0.8 * ANN + NOISE + GAPS, True),
        (np.roll(ANN, 7) + NOISE, True),
        (BOB, False),
        (0.05 * ANN, False),  # still: a poster before a camera that shakes
        (np.where(np.arange(FRAMES) < FPS, ANN, np.nan), False),  # seen for a second
    ],
)
def test_lips_that_do_the_same_are_one_persons(other, same):
    a, b = (Lips(FACE, 0.4, float(np.nanstd(opening)), opening) for opening in (ANN, other))
    assert are_one(a, b) == are_one(b, a) == same
