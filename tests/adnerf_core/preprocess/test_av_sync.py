"""The offset between synthetic lips and their sound."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core.config import FPS, SAMPLE_RATE
from adnerf_core.preprocess import av_sync
from tests.adnerf_core import clips

SECONDS = 24


@pytest.fixture(scope="module")
def lips() -> np.ndarray:
    return clips.syllables(SECONDS * FPS)


@pytest.mark.parametrize("late_s", [-1.5, -0.3, -0.033, 0.0, 0.1, 0.25, 0.6, 1.5])
def test_a_known_delay_is_found(lips, late_s):
    """To 20 ms. Unlike real lips, the synthetic ones do not move earlier than their sound, so a difference is tested."""
    in_sync = av_sync.estimate_av_offset(clips.voice(lips), lips)
    offset = av_sync.estimate_av_offset(clips.voice(lips, late_s), lips)
    assert in_sync.reliable and offset.reliable
    assert in_sync.lag_s == pytest.approx(-av_sync.LIPS_LEAD_S, abs=0.04)
    assert offset.lag_s - in_sync.lag_s == pytest.approx(late_s, abs=0.02)


def test_frames_without_a_face_do_not_matter(lips):
    gaps = lips.copy()
    gaps[100:110] = gaps[300] = np.nan
    whole, gapped = (av_sync.estimate_av_offset(clips.voice(lips, 0.1), opening) for opening in (lips, gaps))
    assert gapped.reliable and gapped.lag_s == pytest.approx(whole.lag_s, abs=0.01)


def test_unrelated_sound_is_not_corrected_and_only_refused_for_long_clips(lips):
    """With the speech of somebody else no offset is reliable; short clips are not called unrelated."""
    other = clips.voice(clips.syllables(4 * SECONDS * FPS, seed=5))
    long = np.concatenate([clips.syllables(SECONDS * FPS, seed=s) for s in range(4)])
    short = av_sync.estimate_av_offset(other, lips[: 12 * FPS])
    assert not short.reliable and not short.unrelated
    offset = av_sync.estimate_av_offset(other, long)
    assert not offset.reliable and offset.unrelated


@pytest.mark.parametrize("lag_s", [0.2, -0.2])
def test_shifted_sound_is_aligned(lag_s):
    """A click `lag_s` after 1 s moves to 1 s; silence fills the rest."""
    samples = np.zeros(3 * SAMPLE_RATE, np.float32)
    samples[round((1 + lag_s) * SAMPLE_RATE)] = 1
    aligned = av_sync.shift_audio(samples, lag_s, frames=4 * FPS)
    assert len(aligned) == 4 * SAMPLE_RATE
    assert np.flatnonzero(aligned).tolist() == [SAMPLE_RATE]
    assert len(av_sync.shift_audio(samples, 0.0, frames=FPS)) == SAMPLE_RATE
