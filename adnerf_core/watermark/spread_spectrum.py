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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8

from adnerf_core.config import FPS
from adnerf_core.errors import NotMedia
from adnerf_core.files import ffmpeg
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

LEAST_PSNR = 42.0
"""No marked frame is farther from the unmarked one than this, dB."""

STRONGEST, MIDDLE, WEAKEST = 1.97, 1.5, 0.5
"""Root mean square of the mark up to 97 px, at 128 px, and from 384 px on, in steps of 8 bits: 42.2, 44.6 and 54.2 dB, less what
rounding adds."""

SMALL, TINT, GRAY = 96, np.array([1.05, 1.15, 0.75], np.float32), np.ones(3, np.float32)
"""What of it R, G and B get (mean square 1). Coders keep luma, of which green has most and blue hardly any: so the same PSNR leaves
a tenth more of a tinted mark. It is seen sooner than a gray one, so only pictures below SMALL px have it, which need it."""

LOOK = 32
"""Edge of the raster on which texture is judged."""

RASTER = 64
"""Edge of the raster on which a video is searched for a mark."""

WINDOWS, WINDOW_S, RATE = 5, 10.0, 12.5
"""So many windows are searched at most, spread over the video, and so many pictures a second of each, means of two frames."""

SLOW = 2.5
"""By so many steps of 8 bits a place may change from picture to picture; more is no mark, but motion or a cut, and is limited."""

PHASES = 160
LOST = (0.0, 0.025, 0.05, 0.1)
"""Shares of the picture that may have been cut off on each side."""

DECODED = 8
"""So many alignments are decoded of those tried: where most is seen."""

FALSE_ALARM = 1e-12
"""How probable a false alarm may be, at most. It also keeps away from scores at which a number may be read wrong."""

Waves = Float[np.ndarray, "waves 2 raster raster"]
Cut = tuple[float, float, float, float]
"""Shares of the picture lost at the top, bottom, left and right; negative where bars were added."""

WHOLE = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Watermark:
    """A number, 0 <= number < 2**48, and the key to write it with: a secret of KEY_BYTES or more."""

    number: int
    key: bytes


@dataclass(frozen=True)
class Detection:
    """A mark that was found. `score` is in standard deviations of what unmarked videos give for one number; `false_alarm` bounds
    the probability that a video without this key's mark gives any number with that score."""

    number: int
    score: float
    false_alarm: float


class WatermarkEmbedder:
    """Writes one mark into the frames of one video, of `height` x `width` px.

    Raises ValueError for a number or a key that is none (see Mark).
    """

    def __init__(self, number: int, key: bytes, height: int, width: int):
        signs = SpreadSpectrumCode(key)
        fields = signs.spread(convolutional_code.encode(number, BITS)).reshape(-1, CELLS, CELLS).transpose(1, 2, 0)
        fields = cv2.resize(fields, (LOOK, LOOK), interpolation=cv2.INTER_CUBIC)
        self._fields = fields / fields.std()
        self._strength = strength(height, width)
        self._tint = TINT if min(height, width) < SMALL else GRAY
        self._size = width, height

    def apply(
        self, frame: UInt8[np.ndarray, "height width channels"], index: int
    ) -> UInt8[np.ndarray, "height width channels"]:
        """A marked copy of frame `index` (from 0, 25 a second), RGB, or RGBA with colours that are not multiplied by alpha:
        the less shows, the less is marked. Its PSNR against `frame`, over R, G and B, is LEAST_PSNR or more."""
        phases = 2 * math.pi / PERIOD_S * index / FPS * np.arange(1, WAVES + 1)
        waves = np.stack([np.cos(phases), np.sin(phases)], -1).reshape(-1).astype(np.float32)
        color = np.ascontiguousarray(frame[..., :3])
        change = cv2.resize(self._fields @ waves * perceptual_mask(color), self._size, interpolation=cv2.INTER_CUBIC)
        change *= self._strength / max(1e-6, float(np.sqrt(np.square(change).mean())))
        alpha = frame[..., 3:]
        if alpha.size:
            change *= alpha[..., 0] / np.float32(255)
        marked = cv2.add(color, quantize_to_psnr(change, self._tint), dtype=cv2.CV_8U)
        return np.dstack([marked, alpha]) if alpha.size else marked

    def over(self, frames: Iterable[UInt8[np.ndarray, "height width channels"]]) -> Iterator[np.ndarray]:
        """Marked copies of a video's frames, the first to the last."""
        for index, frame in enumerate(frames):
            yield self.apply(frame, index)


def strength(height: int, width: int) -> float:
    """Root mean square of the mark in such a picture, in steps of 8 bits: the same energy whatever the size, within limits."""
    return min(STRONGEST, max(WEAKEST, 128 / min(height, width) * MIDDLE))


def quantize_to_psnr(
    change: Float[np.ndarray, "height width"], tint: Float[np.ndarray, " channels"]
) -> Int16[np.ndarray, "height width channels"]:
    """A change of light as whole steps of R, G and B, weakened where rounding would take it past LEAST_PSNR. What black and white
    cut off of them only makes it less."""
    most = 255**2 / 10 ** (LEAST_PSNR / 10) * change.size * len(tint)
    while cv2.norm(steps := np.rint(change[..., None] * tint).astype(np.int16), cv2.NORM_L2SQR) > most:
        change = change * np.float32(0.99)
    return steps


def perceptual_mask(picture: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "look look"]:
    """Where a picture hides more of the mark, and where less: texture and a plain wall. Its mean square is 1."""
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean, square = (cv2.resize(each, (LOOK, LOOK), interpolation=cv2.INTER_AREA) for each in (gray, gray * gray))
    texture = cv2.blur(np.sqrt(np.maximum(square - mean * mean, 0)), (3, 3))
    weight = np.clip(0.6 + texture / 12, 0.6, 1.4)
    return weight / np.sqrt((weight * weight).mean())


def detect(video: Path, key: bytes) -> Detection | None:
    """The mark in a video of whatever size, frame rate, length and coding; None where there is none, or too little of it.

    Time and memory are bounded, and the file may be a stranger's. Raises ValueError for a key of less than 16 bytes; NotMedia,
    NoVideo, MediaTooLarge, MediaTooLong.
    """
    signs = SpreadSpectrumCode(key)
    looks = _search_plan(video)
    for waves, cuts in looks:
        number, score = signs.read(waves, cuts)
        bound = false_alarm(score, len(looks) * len(cuts) * PHASES)  # each look may give as many false alarms
        if bound <= FALSE_ALARM:
            return Detection(number, round(score, 2), bound)
    return None


def false_alarm(score: float, alignments: int) -> float:
    """How probable it is at most that an unmarked video reaches a score with any number at one of so many alignments."""
    return math.exp(min(0.0, BITS * math.log(2) + math.log(alignments) - score**2 / 2))


def _search_plan(video: Path) -> list[tuple[Waves, list[Cut]]]:
    """What is searched, the likeliest first: waves, and the cuts to try on them."""
    windows, bars = [], WHOLE
    for pictures, times in _windows(video):
        windows.append(temporal_spectrum(pictures, times))
        bars = find_letterbox(pictures) if len(windows) == 1 else bars
    together = sum(windows)
    looks = [(together, [WHOLE])]
    if bars != WHOLE:
        looks.append((together, [bars]))
    if len(windows) > 1:
        looks += [(window, [WHOLE]) for window in windows]
    looks.append((together[..., ::-1], [WHOLE]))  # mirrored
    looks.append((together, list(product(LOST, repeat=4))[1:]))
    return looks


def _windows(
    video: Path,
) -> Iterator[tuple[Float[np.ndarray, "frames raster raster"], Float[np.ndarray, " frames"]]]:
    """Pictures (luma) of each window, and their times on the file's timeline, s."""
    length = ffmpeg.probe(video).duration_s
    count = min(WINDOWS, max(1, math.ceil(length / WINDOW_S)))
    for start in np.linspace(0, max(0.0, length - WINDOW_S), count).tolist():
        frames = ffmpeg.read_frames(video, size=(RASTER, RASTER), fps=2 * RATE, start_s=start, duration_s=WINDOW_S)
        try:
            pictures, times = luma_pairs(frames)
        except NotMedia:
            if start > 0:  # the sound may go on when the pictures have ended
                return
            raise
        yield pictures, start + times


def luma_pairs(
    frames: Iterable[UInt8[np.ndarray, "raster raster 3"]],
) -> tuple[Float[np.ndarray, "pictures raster raster"], Float[np.ndarray, " pictures"]]:
    """Luma of frames (RGB, 2 * RATE a second, one or more), the mean of each two, and their times since the first frame, s.

    Coders give neighbouring frames different errors, of which the mean has less.
    """
    luma = np.stack([cv2.cvtColor(frame.astype(np.float32), cv2.COLOR_RGB2GRAY) for frame in frames])
    luma = np.concatenate([luma, luma[-1:]]) if len(luma) % 2 else luma
    return (luma[::2] + luma[1::2]) / 2, (np.arange(0, len(luma), 2) + 0.5) / (2 * RATE)


def temporal_spectrum(
    pictures: Float[np.ndarray, "frames raster raster"], times: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, "waves 2 raster raster"]:
    """How much of each wave, cosine and sine, is in each place; nothing of what stands still, little of what jumps."""
    changes = np.clip(np.diff(pictures, axis=0, prepend=pictures[:1]), -SLOW, SLOW)
    calm = np.cumsum(changes, axis=0)
    phases = 2 * math.pi / PERIOD_S * times * np.arange(1, WAVES + 1)[:, None]
    waves = np.stack([np.cos(phases), np.sin(phases)], 1)
    waves -= waves.mean(-1, keepdims=True)
    return np.tensordot(waves.astype(np.float32), calm - calm.mean(0), 1) / np.float32(len(calm))


def find_letterbox(pictures: Float[np.ndarray, "frames raster raster"]) -> Cut:
    """The cut that takes off rows and columns of one still colour at the edges."""
    steady = np.ptp(pictures[:: max(1, len(pictures) // 16)], axis=0)
    picture = pictures[0]

    def count(lines: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
        """How many lines from the edge on are bars."""
        plain = (np.ptp(line) < 6 and still.max() < 6 for line, still in lines)
        return next((k for k, bar in enumerate(plain) if not bar), 0)

    def cut(picture: np.ndarray, steady: np.ndarray) -> tuple[float, float]:
        before = count(zip(picture, steady, strict=True))
        after = count(zip(picture[::-1], steady[::-1], strict=True))
        left = RASTER - before - after
        return -before / left, -after / left

    return *cut(picture, steady), *cut(picture.T, steady.T)


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
