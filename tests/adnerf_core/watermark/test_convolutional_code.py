"""The code that carries a mark's number through noise."""

from itertools import combinations

import numpy as np
import pytest

from adnerf_core.watermark.convolutional_code import RATE, decode, encode

BITS = 48


def test_a_number_comes_back_through_noise():
    rng = np.random.default_rng(0)
    numbers = [0, (1 << BITS) - 1, 1, 1 << (BITS - 1), *map(int, rng.integers(0, 1 << BITS, 12))]
    words = np.stack([encode(number, BITS) for number in numbers])
    noise = rng.normal(size=words.shape)
    assert decode(words + noise) == numbers  # one sign in six is wrong
    assert np.mean(np.sign(words + noise) != words) > 0.1


def test_noise_alone_gives_a_number_that_fits_it_better_than_others():
    rng = np.random.default_rng(1)
    received = rng.normal(size=(2, RATE * BITS))
    found = [encode(number, BITS) @ word for number, word in zip(decode(received), received, strict=True)]
    others = [encode(int(number), BITS) for number in rng.integers(0, 1 << BITS, 2000)]
    assert all(best > max(other @ word for other in others) for best, word in zip(found, received, strict=True))


def test_codewords_differ_in_29_signs():
    """The code is linear, so its lightest words tell; those of few bits close together are the light ones."""
    rests = [rest for count in (0, 1, 2, 3) for rest in combinations(range(1, 16), count)]
    weights = [(encode(sum(1 << bit for bit in (0, *rest)), BITS) < 0).sum() for rest in rests]
    assert min(weights) == 29


@pytest.mark.parametrize("number", [-1, 1 << BITS])
def test_a_number_that_does_not_fit_is_refused(number):
    with pytest.raises(ValueError, match="no number of 48 bits"):
        encode(number, BITS)
