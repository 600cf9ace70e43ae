"""A tail-biting convolutional code: what turns a number into signs that survive noise, and back.

The encoder is a shift register of 10 bits that starts with the message's last bits, so that a message is a ring and no bit
is spent on an end. Each message bit gives four coded ones, the parities of the register under four generators; two
codewords differ in at least 29 signs (K. J. Larsen, Short convolutional codes with maximal free distance for rates 1/2,
1/3 and 1/4, 1973). Decoding is the Viterbi algorithm, led around the ring (Ma and Wolf, On tail biting convolutional codes,
1986): of all messages it finds the one whose codeword correlates best with what was received, up to rare ties around the
ring.
"""

from __future__ import annotations

import numpy as np

GENERATORS = (0o2327, 0o2353, 0o2671, 0o3175)
"""Which of the 11 bits in the encoder's sight (bit 10 is the newest) go into each coded bit."""

RATE = len(GENERATORS)
MEMORY = 10
STATES = 1 << MEMORY


def _parities(words: np.ndarray) -> np.ndarray:
    """The coded signs, [words, RATE] of -1 and 1, that the encoder gives when it sees `words`."""
    seen = words[:, None] & np.array(GENERATORS)
    for shift in (8, 4, 2, 1):
        seen ^= seen >> shift
    return (1 - 2 * (seen & 1)).astype(np.float32)


# A state is the last 10 bits, the newest on top. State s came from 2s or from 2s + 1, without its top bit.
_STATES = np.arange(STATES)
_SIGNS = [_parities(_STATES << 1 | oldest).T for oldest in (0, 1)]
"""What the encoder gives when it comes to each state from the one and from the other, [RATE, states] each."""


def encode(number: int, bits: int) -> np.ndarray:
    """The codeword of a number, [RATE * bits] of -1 and 1. Raises ValueError where the number does not fit in `bits`."""
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{number} is no number of {bits} bits")
    message = (number >> np.arange(bits)) & 1
    words = sum(np.roll(message, age) << (MEMORY - age) for age in range(MEMORY + 1))
    return _parities(words).reshape(-1)


def decode(received: np.ndarray) -> list[int]:
    """The likeliest numbers: `received` is [words, RATE * bits], signs as they came, the surer the larger."""
    count, length = received.shape
    bits = length // RATE
    steps = received.reshape(count, bits, RATE).astype(np.float32)
    # Once around to learn the state that the ring starts in, once to read, and a stretch more to settle the end.
    ring = np.arange(2 * bits + bits // 2) % bits
    weight = np.zeros((count, STATES), np.float32)
    came = np.empty((len(ring), count, STATES), bool)
    for step, place in enumerate(ring):
        zero, one = (np.tile(weight[:, oldest::2], 2) + steps[:, place] @ _SIGNS[oldest] for oldest in (0, 1))
        came[step] = one > zero
        weight = np.maximum(zero, one)
        weight -= weight.max(-1, keepdims=True)
    state, words = weight.argmax(-1), np.arange(count)
    numbers = [0] * count
    for step in range(len(ring) - 1, bits - 1, -1):
        if step < 2 * bits:
            for word in np.flatnonzero(state >> (MEMORY - 1)):
                numbers[word] |= 1 << int(ring[step])
        state = (state << 1 & (STATES - 1)) | came[step, words, state]
    return numbers
