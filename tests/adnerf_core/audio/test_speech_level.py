"""Speech and pauses by their loudness."""

import numpy as np

from adnerf_core.audio.speech_level import speech_frames


def test_frames_within_30_db_of_the_loud_parts_are_speech():
    levels_db = np.repeat([0.0, -25.0, -35.0, -20.0], [10, 5, 20, 5])
    noise = np.random.default_rng(0).choice([-0.1, 0.1], (len(levels_db), 320))
    frames = (noise * 10 ** (levels_db / 20)[:, None]).astype(np.float32)
    assert speech_frames(frames).tolist() == (levels_db > -30).tolist()


def test_the_recording_level_makes_no_difference():
    frames = np.random.default_rng(0).normal(0, 0.1, (40, 320)).astype(np.float32)
    frames[:20] *= 0.01
    assert np.array_equal(speech_frames(frames), speech_frames(0.1 * frames))
