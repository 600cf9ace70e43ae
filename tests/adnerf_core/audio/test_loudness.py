"""Speech and pauses by their loudness."""

import numpy as np

from adnerf_core.audio.loudness import is_speech

HOP = 320


def test_steps_within_30_db_of_the_loud_parts_are_speech():
    levels_db = np.repeat([0.0, -25.0, -35.0, -20.0], [10, 5, 20, 5])
    noise = np.random.default_rng(0).choice([-0.1, 0.1], (len(levels_db), HOP))
    samples = (noise * 10 ** (levels_db / 20)[:, None]).ravel().astype(np.float32)
    assert is_speech(samples, HOP).tolist() == (levels_db > -30).tolist()
    assert len(is_speech(samples[:-1], HOP)) == len(levels_db) - 1


def test_the_recording_level_makes_no_difference():
    samples = np.random.default_rng(0).normal(0, 0.1, 40 * HOP).astype(np.float32)
    samples[: 20 * HOP] *= 0.01
    assert np.array_equal(is_speech(samples, HOP), is_speech(0.1 * samples, HOP))
