"""Which frames of long footage are learnt from."""

import numpy as np

from adnerf_core.data.training_frames import MAX_FRAMES, choose_frames


def test_all_valid_frames_of_a_minute_are_learnt_from():
    valid = np.arange(1400) % 10 != 3
    assert choose_frames(valid).tolist() == np.flatnonzero(valid).tolist()


def test_of_ten_minutes_as_many_are_chosen_from_all_over_the_footage():
    valid = np.arange(15000) % 10 != 3
    chosen = choose_frames(valid)
    assert len(chosen) == len(set(chosen.tolist())) == MAX_FRAMES and valid[chosen].all()
    assert chosen[0] == 0 and chosen[-1] == 14999 and np.diff(chosen).max() <= 12
