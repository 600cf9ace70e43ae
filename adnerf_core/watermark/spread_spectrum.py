"""An invisible mark: a number of 48 bits in the pictures of a video, which whoever has the key finds again.

The mark is a faint pattern of light, 12 x 12 soft cells that breathe slowly: 24 fields of random signs, each on a wave of its
own, the cosine and the sine of 12 frequencies from 1/5 to 12/5 Hz.

    change(t, cell) = strength / sqrt(12) * sum over k = 1..12 of  A[k, cell] cos(2 pi k t / 5 s) + B[k, cell] sin(2 pi k t / 5 s)

What a video shows stands still, or moves otherwise: nearly all of it drops out where the detector takes these waves of every
place, while coders and scalers keep what is coarse and slow. A and B are signs that the key gives (pseudo-random), times those
of the number's codeword (tailbiting.py): each of its 192 signs is in 18 places. This is spread spectrum as in Cox, Kilian,
Leighton and Shamoon, Secure spread spectrum watermarking for multimedia (1997), spread over time as well.

How much it changes is bounded: every frame of a video gets the same energy, and the PSNR of each marked frame against the unmarked
one, over all its R, G and B, is LEAST_PSNR or more, whatever the frame, its size, the number and the key.

Detection is blind: it takes neither the original nor its size. A video is looked at in 64 x 64 averages, whitened, at every
phase of the 5 s, whole or less what may have been cut off. The score is the correlation of what is seen there, a vector of length
one, with the signs of the likeliest number. A video that was made without the key does not depend on its signs, so by
Hoeffding's inequality one number at one alignment reaches a score with a probability of exp(-score**2 / 2) at most. Which
alignments are tried does depend on the video, but not on the key; so the chance that the best of all numbers at the best of all
alignments reaches it is 2**48 times the number of alignments times that at most (the union bound, which needs no independence).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from adnerf_core.watermark import convolutional_code

BITS = 48
"""A number is 0 <= number < 2**48."""

KEY_BYTES = 16
"""A key has as many bytes, or more."""

PUBLIC_KEY = b"this key is no secret"
"""What the command line marks with where no key is given: such marks can be found, and made, by everybody."""

CELLS, WAVES, PERIOD_S = 12, 12, 5.0
PLACES = (WAVES, 2, CELLS, CELLS)
CODED = BITS * convolutional_code.RATE


LOOK = 32
"""Edge of the raster on which texture is judged."""

RASTER = 64
"""Edge of the raster on which a video is searched for a mark."""


PHASES = 160

DECODED = 8
"""So many alignments are decoded of those tried: where most is seen."""


Waves = Float[np.ndarray, "waves 2 raster raster"]
Cut = tuple[float, float, float, float]
"""Shares of the picture lost at the top, bottom, left and right; negative where bars were added."""

WHOLE = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Watermark:
    """A number, 0 <= number < 2**48, and the key to write it with: a secret of KEY_BYTES or more."""

    number: int
    key: bytes


class SpreadSpectrumCode:
    """What a key says: the sign of each place, and which places share a coded sign. Raises ValueError for a short key."""

    def __init__(self, key: bytes):
        if len(key) < KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes or more")
        count = math.prod(PLACES)
        stream = hashlib.shake_256(b"adnerf mark 1\0" + key).digest(count // 8 + 8 * count)
        self._signs = 1 - 2 * np.unpackbits(np.frombuffer(stream[: count // 8], np.uint8)).astype(np.float32)
        # A permutation as the ranks of random words: numpy's own may change with its version.
        order = np.argsort(np.frombuffer(stream[count // 8 :], "<u8"), kind="stable")
        self._bits = np.empty(count, np.int64)
        self._bits[order] = np.arange(count) * CODED // count

    def spread(self, codeword: Float[np.ndarray, " coded"]) -> Float[np.ndarray, "waves 2 cells cells"]:
        """The signs of all places for a codeword."""
        return (self._signs * codeword[self._bits]).reshape(PLACES)

    def read(self, waves: Waves, cuts: list[Cut]) -> tuple[int, float]:
        """The likeliest number over all phases and `cuts`, and its score."""
        white = whiten(waves)
        coded = np.concatenate([self.gather(pool_cells(white, cut)) for cut in cuts])
        coded = coded[np.argsort(-np.abs(coded).sum(-1))[:DECODED]]
        numbers = convolutional_code.decode(coded)
        scores = [
            float(word @ convolutional_code.encode(number, BITS)) for word, number in zip(coded, numbers, strict=True)
        ]
        best = int(np.argmax(scores))
        return numbers[best], scores[best]

    def gather(self, cells: Float[np.ndarray, "waves 2 cells cells"]) -> Float[np.ndarray, "phases coded"]:
        """The coded signs as they came, for each phase of the mark; a codeword's product with them is its score."""
        seen = cells[:, 0] + 1j * cells[:, 1]
        # A phase turns cosines and sines of a wave into each other, so it can wait until the places of a bit are added up.
        places = np.stack([seen, -1j * seen], 1).reshape(-1) * self._signs
        sums = np.zeros(WAVES * CODED, complex)
        np.add.at(sums, np.arange(len(places)) // (len(places) // WAVES) * CODED + self._bits, places)
        turns = np.exp(2j * np.pi / PHASES * np.arange(PHASES)[:, None] * np.arange(1, WAVES + 1))
        length = max(float(np.linalg.norm(cells)), 1e-20)  # nothing at all moves: no score
        return ((turns @ sums.reshape(WAVES, CODED)).real / length).astype(np.float32)


def whiten(waves: Waves) -> Waves:
    """Waves weighed by how little moves around each place, for there the mark is seen best."""
    scale = 0.6 * RASTER / CELLS
    power = np.stack([cv2.GaussianBlur(each, (0, 0), scale) for each in (waves**2).sum(1)])
    return waves / np.sqrt(np.maximum(power, 1e-3))[:, None]


def pool_cells(waves: Float[np.ndarray, "waves 2 raster raster"], cut: Cut) -> Float[np.ndarray, "waves 2 cells cells"]:
    """Sums over the cells that the mark had before the picture was cut."""
    top, bottom, left, right = cut
    return _overlaps(top, bottom) @ waves @ _overlaps(left, right).T


def _overlaps(before: float, after: float) -> Float[np.ndarray, "cells raster"]:
    """How much of each cell each pixel covers, along one axis."""
    edges = (before + np.linspace(0, 1, RASTER + 1) * (1 - before - after)) * CELLS
    cells = np.arange(CELLS)[:, None]
    covered = np.clip(edges[1:], cells, cells + 1) - np.clip(edges[:-1], cells, cells + 1)
    return covered.astype(np.float32)
