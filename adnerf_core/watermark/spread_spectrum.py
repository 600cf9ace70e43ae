"""The watermark's signal: a spread-spectrum code for a number of 48 bits, in slow changes of light.

The watermark adds to a video 12 x 12 soft cells whose brightness changes slowly: 24 fields of random signs, one on the cosine and one on
the sine of each of 12 frequencies from 1/5 to 12/5 Hz,

    change(t, cell) = strength / sqrt(12) * sum over k = 1..12 of  A[k, cell] cos(2 pi k t / 5 s) + B[k, cell] sin(2 pi k t / 5 s).

Most of a talking-head video stands still or moves at other frequencies, so that little of it is left once the detector takes the
Fourier coefficients of each place over time. Coders and scalers preserve what is coarse and slow. Each sign of A and B is a chip: a
pseudo-random sign that follows from the key, times one of the 192 signs of the number's codeword (convolutional_code), which is
carried by 18 chips. This is the method of Cox, Kilian, Leighton and Shamoon, "Secure spread spectrum watermarking for multimedia" (1997),
with time as another dimension to spread over.

Embedding (embed.py) bounds the change: all frames of a video get the same energy, and the PSNR of each marked frame against the
unmarked one, over all its R, G and B, is at least embed.MIN_PSNR_DB, whatever the frame, its size, the number and the key.

Detection (detect.py) is blind: it needs neither the original video nor its size. It averages the video to 64 x 64 pixels, takes and whitens
the Fourier coefficients, and correlates them with the chips for each phase of the 5 s and for several croppings. The score is the scalar
product of the received signs, as a vector of length 1, with the codeword of the most likely number. A video that was made without
the key is independent of the chips, so by Hoeffding's inequality the probability that one number reaches a score at one alignment
(phase and cropping) is at most exp(-score^2 / 2). The alignments that are tried depend on the video, but not on the key. So by the union
bound, which needs no independence, the probability for the best of all numbers at the best of all alignments is at most 2^48
times the number of alignments times that.

docs/decisions/0024-mark.md holds the measurements.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from adnerf_core.config import MARK_BITS
from adnerf_core.watermark import convolutional_code

BITS = MARK_BITS
"""Bits of a number."""
KEY_BYTES = 16
"""Least length of a key: 128 bits cannot be guessed."""
PUBLIC_KEY = b"this key is no secret"
"""The command line's default key. Everybody can detect, and make, watermarks with it."""
CELLS = 12
"""Cells per edge. A picture of 64 px, scaled to 75 %, has 48: 16 cells would be 3 px each, less than the smallest block (4 px) of a
coder. Chosen in trials with 4 to 16 cells."""
FREQUENCIES, PERIOD_S = 12, 5.0
"""The frequencies are 1 .. FREQUENCIES / PERIOD_S. Slower changes need longer clips, faster ones are lost by coders; chosen in
trials with 6 to 30 frequencies."""
CHIPS = (FREQUENCIES, 2, CELLS, CELLS)
"""Shape of the chips: frequency, cosine or sine, row, column."""
CODED_SIGNS = BITS * convolutional_code.SIGNS_PER_BIT
RASTER = 64
"""Edge of the raster that videos are averaged to for detection: the smallest size of a video, so that all sizes are treated alike."""
PHASES = 160
"""Phases of the period that are tried, 31 ms apart. The nearest is at most 16 ms off, which costs 3 % of the amplitude at the highest
frequency. The phase of a file is not known, because videos are cut and coders show slow changes 30 to 90 ms late."""
MAX_DECODED = 8
"""Number of alignments that are decoded, those with the strongest received signs: decoding is the expensive part."""
WHITENING_SCALE = 0.6 * RASTER / CELLS
"""Standard deviation of the Gaussian window, in pixels of the raster, in which the local power is estimated: .6 of a cell. Larger
windows would mix the moving person with the background, in smaller ones the watermark itself would count."""
MIN_POWER = 1e-3
"""Smallest local power (squared 8-bit steps) that is divided by; nothing but rounding is that weak."""

Spectrum = Float[np.ndarray, "frequencies 2 raster raster"]
"""Fourier coefficients over time, cosine and sine, of each pixel of the raster (see detect.temporal_spectrum)."""
Crop = tuple[float, float, float, float]
"""Shares of the original picture's height or width that were cut off at the top, bottom, left and right; negative if bars were added."""
NO_CROP: Crop = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Watermark:
    """What is embedded in a video.

    Attributes:
        number: 0 <= number < 2**BITS.
        key: a secret of KEY_BYTES or more.
    """

    number: int
    key: bytes


class SpreadSpectrumCode:
    """The chips of a key: their pseudo-random signs, and which sign of the codeword each of them carries."""

    def __init__(self, key: bytes):
        """Derives the chips from `key`. Raises ValueError if it is shorter than KEY_BYTES."""
        if len(key) < KEY_BYTES:
            raise ValueError(f"the key must have at least {KEY_BYTES} bytes")
        count = math.prod(CHIPS)
        stream = hashlib.shake_256(b"adnerf mark 1\0" + key).digest(count // 8 + 8 * count)
        self._signs = 1 - 2 * np.unpackbits(np.frombuffer(stream[: count // 8], np.uint8)).astype(np.float32)
        # A permutation, as the ranks of random numbers: numpy's own shuffling may change between versions.
        order = np.argsort(np.frombuffer(stream[count // 8 :], "<u8"), kind="stable")
        self._coded = np.empty(count, np.int64)
        self._coded[order] = np.arange(count) * CODED_SIGNS // count

    def spread(self, codeword: Float[np.ndarray, " coded"]) -> Float[np.ndarray, "frequencies 2 cells cells"]:
        """Returns the chips that carry a codeword."""
        return (self._signs * codeword[self._coded]).reshape(CHIPS)

    def decode(self, spectrum: Spectrum, crops: list[Crop]) -> tuple[int, float]:
        """Finds the most likely number over all phases and `crops`.

        Returns:
            The number and its score.
        """
        white = whiten(spectrum)
        received = np.concatenate([self.despread(pool_cells(white, crop)) for crop in crops])
        received = received[np.argsort(-np.abs(received).sum(-1))[:MAX_DECODED]]
        numbers = convolutional_code.decode(received)
        codewords = [convolutional_code.encode(number, BITS) for number in numbers]
        scores = [float(word @ codeword) for word, codeword in zip(received, codewords, strict=True)]
        best = int(np.argmax(scores))
        return numbers[best], scores[best]

    def despread(self, cells: Float[np.ndarray, "frequencies 2 cells cells"]) -> Float[np.ndarray, "phases coded"]:
        """Sums the chips of each sign of the codeword, for each phase that the video may start at.

        If the video starts at time tau of the watermark, chips A and B of the frequency w arrive as coefficients C + i S =
        (A + i B) exp(-i w tau). So the chips are

            A = Re((C + i S) exp(i w tau)),    B = Re(-i (C + i S) exp(i w tau)),

        and since exp(i w tau) is the same for all chips of a frequency, the sums over chips can be taken once for all phases.

        Args:
            cells: Fourier coefficients of each cell, C and S in the second axis.

        Returns:
            The received signs, scaled so that their scalar product with a codeword is its score.
        """
        coefficients = cells[:, 0] + 1j * cells[:, 1]
        chips = np.stack([coefficients, -1j * coefficients], 1).reshape(-1) * self._signs
        frequency = np.repeat(np.arange(FREQUENCIES), len(chips) // FREQUENCIES)
        sums = np.zeros((FREQUENCIES, CODED_SIGNS), complex)
        np.add.at(sums, (frequency, self._coded), chips)
        phases = np.exp(2j * np.pi / PHASES * np.arange(PHASES)[:, None] * np.arange(1, FREQUENCIES + 1))
        length = max(float(np.linalg.norm(cells)), 1e-20)  # if nothing moves, the score is 0
        return ((phases @ sums).real / length).astype(np.float32)


def whiten(spectrum: Spectrum) -> Spectrum:
    """Divides the coefficients by their local root mean square over cosine, sine and a neighbourhood, frequency by frequency.

    Places where little else moves then count most. The exponent .5 of the local power was chosen in trials with .25 to 1.
    """
    power = np.stack([cv2.GaussianBlur(each, (0, 0), WHITENING_SCALE) for each in (spectrum**2).sum(1)])
    return spectrum / np.sqrt(np.maximum(power, MIN_POWER))[:, None]


def pool_cells(
    values: Float[np.ndarray, "frequencies 2 raster raster"], crop: Crop
) -> Float[np.ndarray, "frequencies 2 cells cells"]:
    """Sums the raster's pixels over the cells of the original picture, of which `crop` was cut off."""
    top, bottom, left, right = crop
    return _overlaps(top, bottom) @ values @ _overlaps(left, right).T


def _overlaps(before: float, after: float) -> Float[np.ndarray, "cells raster"]:
    """The length of each pixel, in cells, inside each cell, along one axis of which shares were cut off `before` and `after`."""
    edges = (before + np.linspace(0, 1, RASTER + 1) * (1 - before - after)) * CELLS
    cells = np.arange(CELLS)[:, None]
    covered = np.clip(edges[1:], cells, cells + 1) - np.clip(edges[:-1], cells, cells + 1)
    return covered.astype(np.float32)
