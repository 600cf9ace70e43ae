"""Metrics agree with closed forms."""

import numpy as np
import pytest

from adnerf_core.evaluation import metrics
from adnerf_core.face.eyes import eye_aspect_ratio
from adnerf_core.face.landmarks import LEFT_EYE, RIGHT_EYE


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 200, (32, 40, 3), dtype=np.uint8)


def test_psnr_of_a_constant_error(picture):
    assert metrics.psnr(picture + np.uint8(10), picture) == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)


def test_psnr_of_equal_pictures_is_finite(picture):
    assert metrics.psnr(picture, picture) == metrics.MAX_PSNR


def test_psnr_counts_pixels_by_their_weight(picture):
    other = picture.copy()
    other[:16] += 10
    upper = np.zeros((32, 40), np.float32)
    upper[:16] = 0.5
    full, half = metrics.psnr(other, picture), metrics.psnr(other, picture, upper)
    assert half == pytest.approx(20 * np.log10(255 / 10), abs=1e-4)
    assert full == pytest.approx(half + 10 * np.log10(2), abs=1e-4)
    assert metrics.psnr(other, picture, 1 - 2 * upper) == metrics.MAX_PSNR


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise(picture):
    noise = np.random.default_rng(1).integers(-40, 40, picture.shape)
    noisy = (picture + noise).clip(0, 255).astype(np.uint8)
    assert metrics.ssim(picture, picture) == pytest.approx(1)
    assert metrics.ssim(np.full_like(picture, 110), picture) < 0.2 < metrics.ssim(noisy, picture) < 0.98


def test_sharpness_of_a_checkerboard_and_of_a_ramp():
    weights = np.zeros((16, 16), np.float32)
    weights[2:-2, 2:-2] = 1
    rows, cols = np.mgrid[:16, :16]
    board = np.repeat(((rows + cols) % 2 * 10)[..., None], 3, -1).astype(np.uint8)
    ramp = np.repeat((10 * cols)[..., None], 3, -1).astype(np.uint8)
    assert metrics.sharpness(board, weights) == pytest.approx(40)
    assert metrics.sharpness(ramp, weights) == pytest.approx(0)


def test_landmark_distance_ignores_position_and_measures_shape():
    truth = np.random.default_rng(0).normal(0, 10, (5, 40, 2))
    assert np.allclose(metrics.landmark_distance(truth + [30, -7], truth), 0)
    spread = truth.copy()
    spread[:, :20] += [3, 4]
    assert np.allclose(metrics.landmark_distance(spread, truth), 2.5)  # half of 5 px, to either side of the mean


def test_correlation_and_amplitude_of_a_scaled_series():
    truth = np.sin(np.arange(50))
    assert metrics.correlation(3 * truth + 1, truth) == pytest.approx(1)
    assert metrics.correlation(-truth, truth) == pytest.approx(-1)
    assert metrics.amplitude(3 * truth + 1, truth) == pytest.approx(3)


@pytest.mark.parametrize("late", [-7, 0, 2.5, 12])
def test_a_late_series_is_told_as_late(late):
    def opening(frame):
        return np.sin(0.9 * frame) + np.sin(0.37 * frame + 1) + np.sin(0.11 * frame)

    frames = np.arange(200.0)
    truth, series = opening(frames), 0.5 * opening(frames - late)
    series[40:50] = np.nan
    offset, confidence = metrics.sync_offset(series, truth)
    assert offset == pytest.approx(late, abs=0.2) and 0.5 < confidence < 2
    unrelated = np.random.default_rng(0).normal(size=200)
    assert metrics.sync_offset(unrelated, truth)[1] < confidence / 2
    assert metrics.sync_offset(series[:16], truth[:16]) is None


def test_frames_without_a_face_do_not_count():
    truth = np.sin(np.arange(50))
    series = 2 * truth
    series[10:20] = np.nan
    truth = np.where(np.arange(50) == 15, 1e6, truth)
    assert metrics.correlation(series, truth) == pytest.approx(1)
    assert metrics.amplitude(series, truth) == pytest.approx(2)


@pytest.mark.parametrize("series", [np.full(9, np.nan), np.ones(9)])
def test_what_cannot_be_measured_is_none(series):
    assert metrics.correlation(series, np.arange(9.0)) is None
    assert metrics.amplitude(np.arange(9.0), series) is None
    assert metrics.sync_offset(np.tile(series, 9), np.arange(81.0)) is None


def test_eye_aspect_is_height_over_length():
    landmarks = np.zeros((1, 478, 2))
    for corners, lids in (RIGHT_EYE, LEFT_EYE):
        landmarks[0, corners[1]] = (20, 0)
        for upper, lower in lids:
            landmarks[0, upper], landmarks[0, lower] = (10, -3), (10, 3)
    assert eye_aspect_ratio(landmarks) == pytest.approx(0.3)


def motion(frames: int = 60) -> np.ndarray:
    """Ten points that sway together as a head does, [frames, 10, 2] px."""
    time = np.arange(frames) / 25
    sway = np.stack([20 * np.sin(2 * np.pi * 0.4 * time), 8 * np.cos(2 * np.pi * 0.6 * time)], -1)
    return sway[:, None] + np.random.default_rng(0).normal(0, 50, (1, 10, 2))


def test_smooth_motion_has_no_jitter():
    assert metrics.jitter(motion()) < 0.02


def test_jitter_grows_with_the_shaking():
    shake = np.random.default_rng(1).normal(0, 1, (60, 1, 2))
    once, twice = metrics.jitter(motion() + shake), metrics.jitter(motion() + 2 * shake)
    assert 0.5 < once < 1.5
    assert twice == pytest.approx(2 * once, rel=0.05)


def test_a_stray_point_or_a_failed_frame_does_not_decide_the_jitter():
    points = motion() + np.random.default_rng(1).normal(0, 0.5, (60, 1, 2))
    calm = metrics.jitter(points)
    points[:, 3] += np.random.default_rng(2).normal(0, 30, (60, 2))
    assert metrics.jitter(points) == pytest.approx(calm, rel=0.25)
    points[30] += 5
    assert metrics.jitter(points) < 2 * calm


def test_jitter_needs_consecutive_frames():
    points = motion()
    points[30] = np.nan
    assert metrics.jitter(points) < 0.02
    points[::4] = np.nan
    assert metrics.jitter(points) is None
    assert metrics.jitter(motion(5)) is None


def test_frames_inside_a_pause_are_quiet():
    samples = np.random.default_rng(0).normal(0, 0.1, 100 * 640).astype(np.float32)
    samples[40 * 640 : 60 * 640] *= 0.001
    quiet = metrics.quiet_frames(samples, 102)
    assert np.flatnonzero(quiet[:97]).tolist() == list(range(43, 57))
    assert metrics.quiet_frames(samples[: 30 * 640], 30).sum() == 0
