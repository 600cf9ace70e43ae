"""The judge of lips and sound: known shifts, sound of somebody else, and what it does not judge."""

import numpy as np
import pytest

from adnerf_core.audio.mel import Mel
from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.evaluation.sync_judge import MIN_FRAMES, MIN_JUDGED, learn_judge
from adnerf_core.face.landmarks import NUM_LANDMARKS
from adnerf_core.face.lip_pca import LOWER_INNER, OUTER_HEIGHT, OUTER_WIDTH

FRAMES, LEARNT = 500, 400
HOP = SAMPLE_RATE // FPS


def talk(seed):
    """Returns sound, and the landmarks of a mouth that is opened by its loudness and made wide by its hiss."""
    random = np.random.default_rng(seed)
    loudness, hiss = (np.convolve(random.uniform(0, 1, FRAMES + 4), np.ones(5) / 5, "valid") ** 3 for _ in range(2))
    noise = random.normal(size=FRAMES * HOP)
    times = (np.arange(FRAMES * HOP) + 0.5) / HOP - 0.5
    low, high = (np.interp(times, np.arange(FRAMES), values) for values in (loudness, hiss))
    voice = np.sin(2 * np.pi * 300 / SAMPLE_RATE * np.arange(FRAMES * HOP))
    sound = (0.8 * low * voice + 0.1 * high * np.diff(noise, append=0)).astype(np.float32)
    landmarks = random.normal(0, 0.02, (FRAMES, NUM_LANDMARKS, 2))
    landmarks[:, LOWER_INNER, 1] += 10 * loudness[:, None]
    landmarks[:, OUTER_HEIGHT[1], 1] += 4 + 10 * loudness
    landmarks[:, OUTER_WIDTH[1], 0] += 8 + 6 * hiss
    return sound, landmarks


@pytest.fixture(scope="module")
def judge():
    sound, landmarks = talk(0)
    return learn_judge(Mel()(sound[: LEARNT * HOP]), landmarks[:LEARNT])


@pytest.mark.parametrize("late", [-10, 0, 7])
def test_shifted_lips_are_told(judge, late):
    sound, landmarks = talk(0)
    first, last = LEARNT + max(0, late), FRAMES + min(0, late)
    seen = landmarks[first - late : last - late].copy()
    seen[20:24] = np.nan
    offset, confidence = judge.judge(Mel()(sound), seen, first)
    assert offset == late
    other = judge.judge(Mel()(talk(1)[0]), seen, first)
    assert other.confidence < confidence / 2


def test_only_what_is_long_enough_and_moves_is_learnt_from_and_judged(judge):
    sound, landmarks = talk(0)
    mel = Mel()(sound)
    assert learn_judge(mel, landmarks[:MIN_FRAMES]) is None  # the first and the last have no neighbours
    assert learn_judge(mel, np.zeros_like(landmarks)) is None
    assert learn_judge(np.zeros_like(mel), landmarks) is None
    for half in (slice(0, len(mel) // 2), slice(len(mel) // 2, None)):  # the person listens
        part = mel.copy()
        part[half] = 0
        assert learn_judge(part, landmarks) is None
    assert learn_judge(mel, np.full_like(landmarks, np.nan)) is None
    assert judge.judge(mel, landmarks[LEARNT : LEARNT + MIN_JUDGED], LEARNT) is None
    assert judge.judge(mel, landmarks[FRAMES - MIN_JUDGED - 4 :], FRAMES - MIN_JUDGED - 4).offset == 0
