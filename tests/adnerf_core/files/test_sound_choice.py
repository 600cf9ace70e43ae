"""Which channels of a sound are taken: none may be lost, and none may cancel another."""

from __future__ import annotations

import numpy as np
import pytest

from adnerf_core.files import ffmpeg
from adnerf_core.files.sound_choice import LISTEN_RATE, PIECE, opposite_channel
from tests.adnerf_core.files.clock import run_ffmpeg

RANDOM = np.random.default_rng(0)
VOICE, NOISE = RANDOM.normal(size=(2, 10 * LISTEN_RATE)) * 0.1
OTHER = RANDOM.normal(size=10 * LISTEN_RATE) * 0.1
LATER = np.where(np.arange(len(VOICE)) < 3 * PIECE, 1, -1)


@pytest.mark.parametrize(
    ("left", "right", "channel"),
    [
        (VOICE, -VOICE, 0),
        (0.6 * VOICE, -VOICE, 1),
        (VOICE + 0.4 * NOISE, -0.99 * VOICE + 0.4 * OTHER, 0),  # the mean would hold nothing but noise
        (VOICE, 0.99 * LATER * VOICE, 0),  # a second recording, wired wrongly
        (VOICE, VOICE, None),
        (VOICE, NOISE, None),
        (VOICE, 0 * VOICE, None),
        (0 * VOICE, 0 * VOICE, None),
    ],
)
def test_one_channel_is_taken_if_two_cancel_each_other(left, right, channel):
    assert opposite_channel(np.stack([left, right], axis=1)) == channel


def test_no_channel_of_a_recorder_is_lost(tmp_path):
    """Players leave out the fourth of six channels, which is the bass of a film, and a microphone of a recorder."""
    for n in range(6):
        path = tmp_path / f"{n}.wav"
        run_ffmpeg("-f", "lavfi", "-i", f"aevalsrc=0.5*sin(2000*t):d=0.3,pan=5.1|c{n}=c0", path)
        assert np.abs(ffmpeg.extract_audio(path)).max() > 0.03
