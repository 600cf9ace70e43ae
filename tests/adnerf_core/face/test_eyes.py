"""Eyes: a blink is told from lids that follow the gaze."""

import numpy as np

from adnerf_core.face.eyes import has_blink, openness


def test_a_blink_is_told_from_lids_that_follow_the_gaze():
    looking = np.tile([0.3, 0.28, 0.25, np.nan], 20)
    blinking = looking.copy()
    blinking[40] = 0.13
    assert not has_blink(looking) and has_blink(blinking)


def test_openness_is_scaled_to_the_range_of_the_footage():
    ratio = np.concatenate([np.full(195, 0.3), np.full(5, 0.1)])
    scaled, (shut, wide) = openness(ratio)
    assert abs(shut - 0.1) < 1e-6 and abs(wide - 0.3) < 1e-6
    assert (scaled[:195] == 1).all() and (scaled[195:] == 0).all()
