"""The tail-biting convolutional code: its distance, and decoding through noise."""

from itertools import combinations

import numpy as np
import pytest

from adnerf_core.watermark.convolutional_code import SIGNS_PER_BIT, decode, encode

BITS = 48


def test_a_number_comes_back_through_noise():
    rng = np.random.default_rng(0)
    numbers = [0, (1 << BITS) - 1, 1, 1 << (BITS - 1), *map(int, rng.integers(0, 1 << BITS, 12))]
    words = np.stack([encode(number, BITS) for number in numbers])
    noise = rng.normal(size=words.shape)
    assert decode(words + noise) == numbers  # one sign in six is wrong
    assert np.mean(np.sign(words + noise) != words) > 0.1


def test_noise_is_decoded_to_a_number_that_fits_it_better_than_others():
    rng = np.random.default_rng(1)
    received = rng.normal(size=(2, SIGNS_PER_BIT * BITS))
    scores = [encode(number, BITS) @ word for number, word in zip(decode(received), received, strict=True)]
    others = [encode(int(number), BITS) for number in rng.integers(0, 1 << BITS, 2000)]
    assert all(best > max(other @ word for other in others) for best, word in zip(scores, received, strict=True))


def test_codewords_differ_in_29_signs():
    """The code is linear, so its distance is the least weight of a word; words of few bits close together are the lightest."""
    rests = [rest for count in (0, 1, 2, 3) for rest in combinations(range(1, 16), count)]
    weights = [(encode(sum(1 << bit for bit in (0, *rest)), BITS) < 0).sum() for rest in rests]
    assert min(weights) == 29


@pytest.mark.parametrize("number", [-1, 1 << BITS])
def test_a_number_that_does_not_fit_is_refused(number):
    with pytest.raises(ValueError, match="does not fit in 48 bits"):
        encode(number, BITS)
