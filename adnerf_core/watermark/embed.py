"""Embeds the watermark in the frames of a video."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8

from adnerf_core.config import FPS
from adnerf_core.watermark import convolutional_code
from adnerf_core.watermark.spread_spectrum import BITS, CELLS, LOOK, PERIOD_S, WAVES, SpreadSpectrumCode

LEAST_PSNR = 42.0
"""No marked frame is farther from the unmarked one than this, dB."""
STRONGEST, MIDDLE, WEAKEST = 1.97, 1.5, 0.5
"""Root mean square of the mark up to 97 px, at 128 px, and from 384 px on, in steps of 8 bits: 42.2, 44.6 and 54.2 dB, less what
rounding adds."""
SMALL, TINT, GRAY = 96, np.array([1.05, 1.15, 0.75], np.float32), np.ones(3, np.float32)
"""What of it R, G and B get (mean square 1). Coders keep luma, of which green has most and blue hardly any: so the same PSNR leaves
a tenth more of a tinted mark. It is seen sooner than a gray one, so only pictures below SMALL px have it, which need it."""


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
