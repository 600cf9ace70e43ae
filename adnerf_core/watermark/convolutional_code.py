"""A tail-biting convolutional code with soft-decision Viterbi decoding: numbers to signs that survive noise, and back.

The encoder is a shift register of 10 bits. It starts with the last bits of the message, so that the message is a ring and no bits are
spent on a known end. Each message bit gives four signs, the parities of the register under four generators; two codewords differ
in at least 29 signs (K. J. Larsen, "Short convolutional codes with maximal free distance for rates 1/2, 1/3 and 1/4", 1973).

The decoder runs the Viterbi algorithm two and a half times around the ring (H. H. Ma and J. K. Wolf, "On tail biting convolutional
codes", 1986). It finds the number whose codeword has the largest scalar product with the received values, except in rare cases
in which the best path does not close to a ring.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int64

GENERATORS = (0o2327, 0o2353, 0o2671, 0o3175)
"""For each of a bit's signs, the bits of the register that it depends on: bit 10 is the newest, bits 9 to 0 the ten before. Larsen's
generators of memory 10. Each further bit of memory would double the work; at a score of 12, where detection begins, this code reads
99 % of numbers right (docs/decisions/0024-mark.md)."""
SIGNS_PER_BIT = len(GENERATORS)
MEMORY = 10
STATES = 1 << MEMORY


def _parities(registers: Int64[np.ndarray, " n"]) -> Float[np.ndarray, "n signs"]:
    """The signs, -1 or 1, that the encoder gives when its register, with the newest bit, holds each of `registers`."""
    parity = registers[:, None] & np.array(GENERATORS)
    for shift in (8, 4, 2, 1):
        parity ^= parity >> shift
    return (1 - 2 * (parity & 1)).astype(np.float32)


_STATES = np.arange(STATES)
"""A state is the last 10 bits, the newest on top. State s follows state 2s or 2s + 1 (without its top bit)."""
_BRANCH_SIGNS = [_parities(_STATES << 1 | oldest).T for oldest in (0, 1)]
"""The signs given on the way to each state from the first and from the second of these, [SIGNS_PER_BIT, STATES] each."""


def encode(number: int, bits: int) -> Float[np.ndarray, " signs"]:
    """Encodes a number as a codeword of SIGNS_PER_BIT * `bits` signs, -1 or 1.

    Raises:
        ValueError: the number is negative or does not fit in `bits`.
    """
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{number} does not fit in {bits} bits")
    message = (number >> np.arange(bits)) & 1
    registers = sum(np.roll(message, age) << (MEMORY - age) for age in range(MEMORY + 1))
    return _parities(registers).reshape(-1)


def decode(received: Float[np.ndarray, "words signs"]) -> list[int]:
    """Decodes received words to the most likely numbers.

    Args:
        received: SIGNS_PER_BIT values per bit of the number, in the order of encode: the signs, scaled by their reliability.
    """
    count, length = received.shape
    bits = length // SIGNS_PER_BIT
    received = received.reshape(count, bits, SIGNS_PER_BIT).astype(np.float32)
    # The first round finds the state in which the ring starts, the second is read, the half after it settles the end of the second.
    ring = np.arange(2 * bits + bits // 2) % bits
    metric = np.zeros((count, STATES), np.float32)  # scalar product of the best path to each state
    from_odd = np.empty((len(ring), count, STATES), bool)  # which predecessor the best path came from
    for step, bit in enumerate(ring):
        even, odd = (np.tile(metric[:, oldest::2], 2) + received[:, bit] @ _BRANCH_SIGNS[oldest] for oldest in (0, 1))
        from_odd[step] = odd > even
        metric = np.maximum(even, odd)
        metric -= metric.max(-1, keepdims=True)
    state, words = metric.argmax(-1), np.arange(count)
    numbers = [0] * count
    for step in range(len(ring) - 1, bits - 1, -1):
        if step < 2 * bits:
            for word in np.flatnonzero(state >> (MEMORY - 1)):  # the newest bit is 1
                numbers[word] |= 1 << int(ring[step])
        state = (state << 1 & (STATES - 1)) | from_odd[step, words, state]
    return numbers
