"""Regions rendered with fewer rays than pixels."""

import cv2
import numpy as np
import pytest

from adnerf_core.synthesis.adaptive_sampling import TOLERANCE, render_adaptively

ROWS, COLS = 90, 121
MIN_SHARE = 0.02


@pytest.fixture
def share():
    mask = np.zeros((ROWS, COLS), np.float32)
    cv2.ellipse(mask, (COLS // 2, ROWS // 2), (50, 38), 0, 0, 360, 1, -1)
    return cv2.GaussianBlur(mask, (0, 0), 4)


def render_from(picture, taken):
    """Renders `picture`, and notes in `taken` how often each pixel is rendered."""

    def render(pixels):
        inside = pixels[(pixels < picture.shape[:2]).all(-1)]
        np.add.at(taken, tuple(inside.T), 1)
        return picture[tuple(pixels.T)]

    return render


def smooth_picture():
    rows, cols = np.mgrid[:ROWS, :COLS].astype(np.float32)
    return np.stack([120 + 40 * np.sin(rows / 15), 90 + 0.5 * cols, 100 + 0.004 * (cols - 60) ** 2], -1)


@pytest.mark.parametrize("coarsest", [1, 2, 4])
def test_every_pixel_of_the_region_has_its_colour(share, coarsest):
    picture, taken = smooth_picture(), np.zeros((ROWS, COLS), int)
    image = render_adaptively(share, MIN_SHARE, render_from(picture, taken), coarsest)
    inside = share > MIN_SHARE
    assert (np.abs(image - picture).max(-1) * share)[inside].max() < TOLERANCE
    assert taken.max() == 1 and taken.sum() < inside.sum() * (1.2 if coarsest == 1 else 0.4)


def test_edges_are_rendered_pixel_by_pixel(share):
    picture, taken = smooth_picture(), np.zeros((ROWS, COLS), int)
    picture[40:52, 45:75] = (180, 40, 40)
    image = render_adaptively(share, MIN_SHARE, render_from(picture, taken), 4)
    assert np.abs(image - picture)[30:62, 35:85].max() < TOLERANCE
    assert taken[38:54, 44].all() and taken[45:47, 58:62].sum() < 4
