"""A rendered region in a picture: colours that agree at its edge, things in front of it, and grain."""

import cv2
import numpy as np
import pytest

from adnerf_core.synthesis.compositing import GRAIN_SHARE, Grain, edge_correction, fine_detail, footage_in_front

ROWS, COLS = 96, 120


@pytest.fixture(scope="module")
def share():
    mask = np.zeros((ROWS, COLS), np.float32)
    cv2.ellipse(mask, (COLS // 2, ROWS // 2), (40, 32), 0, 0, 360, 1, -1)
    return cv2.GaussianBlur(mask, (0, 0), 5)


def test_a_smooth_difference_of_light_is_corrected_everywhere(share):
    rows, cols = np.mgrid[:ROWS, :COLS].astype(np.float32)
    light = np.stack([6 + 0.05 * rows, -4 + 0.03 * cols, 3 - 0.04 * rows], -1)
    inside = share > 0.01
    assert np.abs(edge_correction(light, share) - light)[inside].max() < 1.5


def test_a_hand_across_the_edge_does_not_colour_the_region(share):
    difference = np.full((ROWS, COLS, 3), 5, np.float32)
    difference[:, :30] = 120
    assert np.abs(edge_correction(difference, share)[40:56, 50:70] - 5).max() < 3


def test_lips_that_differ_in_the_middle_do_not_count(share):
    difference = np.zeros((ROWS, COLS, 3), np.float32)
    difference[44:52, 50:70] = 90
    assert np.abs(edge_correction(difference, share)).max() < 1


def test_the_footage_stays_in_front_at_the_edge_alone(share):
    difference = np.zeros((ROWS, COLS, 3), np.float32)
    assert np.array_equal(footage_in_front(difference, share), share)
    difference[:, 55:65] = 100
    kept = footage_in_front(difference, share)
    assert kept[ROWS // 2, COLS // 2] > 0.95, "the lips are rendered"
    edge = (share > 0.2) & (share < 0.6)
    assert (kept[:, 58:62] < 0.65 * share[:, 58:62])[edge[:, 58:62]].all()
    assert np.array_equal(kept[:, :40], share[:, :40])


@pytest.mark.parametrize("noise", [0.0, 1.5, 3.0])
def test_the_grain_is_as_strong_as_that_of_the_footage(share, noise):
    made = np.full((ROWS, COLS, 3), 120, np.float32)
    filmed = made + noise * Grain(5).pattern[:ROWS, :COLS, None]
    grain = Grain(0)(filmed, made, share, 3)
    assert grain.std() == pytest.approx(GRAIN_SHARE * noise, rel=0.15, abs=0.05)
    detail = fine_detail(filmed[..., 1])
    assert fine_detail(made[..., 1] + grain) == pytest.approx(GRAIN_SHARE * detail, rel=0.15, abs=0.05)


def test_grain_is_fresh_in_every_frame_and_equal_for_equal_seeds(share):
    made = np.full((ROWS, COLS, 3), 120, np.float32)
    filmed = made + 2 * Grain(5).pattern[:ROWS, :COLS, None]
    first, second = (Grain(1)(filmed, made, share, k) for k in (0, 1))
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.2
    assert np.array_equal(first, Grain(1)(filmed, made, share, 0))
    assert not np.array_equal(first, Grain(2)(filmed, made, share, 0))
