"""LipPca: codes are standardised, and reconstruct the shapes that they describe."""

import numpy as np
import pytest

from adnerf_core.face.lip_pca import LIP_CHIN_LANDMARKS, LOWER_INNER, UPPER_INNER, LipPca, mouth_opening


@pytest.fixture
def talking() -> np.ndarray:
    """200 frames in which the jaw opens and the lips widen, independently, with a little noise."""
    generator = np.random.default_rng(0)
    face = generator.normal(0, 1, (478, 3))
    face[list(UPPER_INNER)] = face[list(LOWER_INNER)] = (0, -1, 0)
    jaw, width = np.zeros((478, 3)), np.zeros((478, 3))
    jaw[list(LOWER_INNER), 1] = -1
    width[list(LIP_CHIN_LANDMARKS[:40]), 0] = np.linspace(-0.3, 0.3, 40)
    width[list(UPPER_INNER + LOWER_INNER)] = 0
    amounts = generator.uniform(0, 1, (200, 2))
    frames = face + amounts[:, :1, None] * jaw + amounts[:, 1:, None] * width
    return (frames + generator.normal(0, 1e-3, frames.shape)).astype(np.float32)


def test_codes_are_standardised_and_uncorrelated(talking):
    codes = LipPca.fit(talking, 6).encode(talking)
    assert codes.shape == (200, 6)
    assert np.allclose(np.cov(codes.T, bias=True), np.eye(6), atol=1e-3)
    assert np.abs(codes.mean(0)).max() < 1e-3


def test_two_motions_need_two_numbers(talking):
    two = LipPca.fit(talking, 2)
    assert np.abs(two.decode(two.encode(talking)) - talking[:, LIP_CHIN_LANDMARKS]).max() < 0.01
    one = LipPca.fit(talking, 1)
    assert np.abs(one.decode(one.encode(talking)) - talking[:, LIP_CHIN_LANDMARKS]).max() > 0.05


def test_the_opening_has_the_unit_of_the_landmarks_in_two_dimensions_too(talking):
    flat = talking[..., :2]
    assert np.allclose(mouth_opening(3 * flat), 3 * mouth_opening(flat), rtol=1e-3)


def test_codes_open_the_lips_as_they_are_seen_from_the_front(talking):
    """A depth between the lips, which is constant in tracked landmarks, does not count, and lips do not cross."""
    behind = talking.copy()
    behind[:, list(LOWER_INNER), 2] -= 0.5
    lip_pca = LipPca.fit(behind, 2)
    codes = lip_pca.encode(behind)
    apart = talking[:, UPPER_INNER, 1].mean(1) - talking[:, LOWER_INNER, 1].mean(1)
    assert np.allclose(lip_pca.opening(codes), apart, atol=0.01)
    assert lip_pca.opening_spread == pytest.approx(apart.std(), rel=0.01)
    closing = codes[apart.argmin()] - codes[apart.argmax()]
    assert lip_pca.opening((codes[apart.argmin()] + closing)[None]) == 0


def test_a_motion_that_never_happens_has_a_code_of_zero():
    """Synthetic footage can have fewer motions than the code has numbers: rounding noise is not amplified."""
    still = np.random.default_rng(0).normal(0, 1, (1, 478, 3))
    jaw = np.zeros((478, 3))
    jaw[list(LOWER_INNER), 1] = -1
    frames = (still + np.linspace(0, 1, 50)[:, None, None] * jaw).astype(np.float32)
    codes = LipPca.fit(frames, 6).encode(frames)
    assert codes[:, 0].std() == pytest.approx(1, abs=1e-3)
    assert np.abs(codes[:, 1:]).max() < 1e-2


def test_frames_without_a_face_have_no_code(talking):
    lip_pca = LipPca.fit(talking, 3)
    talking[5] = np.nan
    codes = lip_pca.encode(talking)
    assert np.isnan(codes[5]).all() and np.isfinite(np.delete(codes, 5, 0)).all()
