"""region_labels: what the head field should show at each pixel."""

import numpy as np

from adnerf_core.data.region_labels import BACKGROUND, HEAD, NECK, TORSO, UNCERTAIN, region_labels

UNIT = 20.0


def column(*parts: tuple[int, int, int]) -> np.ndarray:
    """A mask whose rows, from the top, are given as (count, head, torso)."""
    rows = np.concatenate([np.tile([[head, torso]], (count, 1)) for count, head, torso in parts])
    return np.repeat(rows[:, None], 5, 1).astype(np.uint8)


def test_labels_from_the_hair_down():
    mask = column((5, 0, 0), (1, 128, 0), (10, 255, 0), (1, 128, 127), (30, 0, 255))
    labels = region_labels(mask, UNIT)[:, 2]
    assert (labels[:5] == BACKGROUND).all()
    assert labels[5] == UNCERTAIN  # hair against the background: partly either
    assert (labels[6:16] == HEAD).all()
    assert labels[16] == NECK  # the jaw against the neck is solid
    assert (labels[17:21] == NECK).all()  # 0.25 units of neck belong to the head's field too
    assert (labels[22:26] == UNCERTAIN).all() and (labels[-15:] == TORSO).all()


def test_empty_pixels_are_background_even_beside_the_neck():
    mask = column((10, 255, 0), (10, 0, 0))
    assert (region_labels(mask, UNIT)[10:] == BACKGROUND).all()
