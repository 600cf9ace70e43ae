"""The figures of full frames: the rendered region by itself, and its seam."""

import cv2
import numpy as np
import pytest

from adnerf_core.evaluation.full_frames import compare, region_box, seam
from adnerf_core.evaluation.lpips import MIN_EDGE


@pytest.fixture
def truth():
    noise = np.random.default_rng(0).normal(120, 30, (96, 96, 3))
    return cv2.GaussianBlur(noise, (0, 0), 2).clip(0, 255).astype(np.uint8)


@pytest.fixture
def share():
    """A disc with a soft edge."""
    rows, cols = np.mgrid[:96, :96]
    return np.clip((28 - np.hypot(rows - 48, cols - 48)) / 8, 0, 1).astype(np.float32)


def brighter(truth, weight, levels):
    return (truth + levels * weight[..., None]).clip(0, 255).astype(np.uint8)


def test_pixels_of_the_footage_do_not_count_in_the_region(truth, share):
    scores = compare(brighter(truth, share, 10), truth, share, None)
    assert scores["region_psnr"] == pytest.approx(-20 * np.log10(10 / 255), abs=1)
    assert scores["full_psnr"] > scores["region_psnr"] + 5
    assert "full_lpips" not in scores


def test_the_distance_sees_the_whole_and_the_box_of_the_region(truth, share):
    seen = []
    compare(truth, truth, share, lambda a, b: float(seen.append(a.shape) or 0))
    assert seen[0] == (96, 96, 3) and seen[1][0] == seen[1][1] and 40 < seen[1][0] < 56


def test_a_step_in_the_edge_is_a_seam_and_blur_is_less_than_none(truth, share):
    assert seam(truth, truth, share) == 1
    step = brighter(truth, (share > 0.5).astype(np.float32), 25)
    assert seam(step, truth, share) > 1.3
    assert seam(cv2.GaussianBlur(truth, (0, 0), 2), truth, share) < 0.8


@pytest.mark.parametrize("corner", [(0, 0), (40, 20), (58, 92)])
def test_the_box_of_a_small_region_is_widened_within_the_frame(corner):
    share = np.zeros((60, 100), np.float32)
    share[corner[0] : corner[0] + 2, corner[1] : corner[1] + 8] = 1
    rows, cols = region_box(share)
    assert (rows.stop - rows.start, cols.stop - cols.start) == (MIN_EDGE, MIN_EDGE)
    assert 0 <= rows.start <= corner[0] < rows.stop <= 60 and 0 <= cols.start <= corner[1] < cols.stop <= 100


def test_the_box_of_a_large_region_is_as_large_as_the_region():
    share = np.zeros((60, 100), np.float32)
    share[5:50, 10:90] = 1
    assert region_box(share) == (slice(5, 50), slice(10, 90))
