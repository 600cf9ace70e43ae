"""Embeds a watermark in the frames of a video (see spread_spectrum.py for the method)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import Float, Int16, UInt8

from adnerf_core.config import FPS
from adnerf_core.files.yuv import LUMA_RANGE, Picture, planes
from adnerf_core.watermark import convolutional_code
from adnerf_core.watermark.spread_spectrum import BITS, CELLS, FREQUENCIES, PERIOD_S, SpreadSpectrumCode

MIN_PSNR_DB = 42.0
"""Least PSNR of a marked frame against the unmarked one. 64 px need nearly all of that to be detected after scaling and coding, and at
this distance the eye found nothing in real clips (docs/decisions/0024-mark.md)."""
MAX_STRENGTH, STRENGTH_AT_128_PX, MIN_STRENGTH = 1.97, 1.5, 0.5
"""Root mean square of the change in 8-bit steps, up to 97 px, at 128 px, and from 384 px on. Before rounding that is 42.2 dB (the bound,
less what rounding adds), 44.6 and 54.2 dB; weaker than half a step, rounding would remove most of the watermark."""
PSNR_STEP = 0.99
"""Factor by which the change is reduced, as often as needed, if rounding takes it past MIN_PSNR_DB: .09 dB at a time."""
TINT_BELOW_PX, TINT, GRAY = 96, np.array([1.05, 1.15, 0.75], np.float32), np.ones(3, np.float32)
"""Weights of R, G and B in the change (mean square 1). Coders preserve luma best, of which green has the largest part and blue the smallest,
so TINT leaves a tenth more luma of the same PSNR. It is seen more easily than GRAY, so only pictures below TINT_BELOW_PX, whose scores
are the lowest, get it (the least score of 12 clips of 64 px was 16.4 with it, 13.0 without)."""
MASK_RASTER = 32
"""Edge of the raster on which texture is measured and the change is composed: 2.7 pixels for each cell, enough for soft cells."""
TEXTURE_SCALE, MASK_RANGE = 12.0, (0.6, 1.4)
"""The change is weighted by MASK_RANGE[0] + texture / TEXTURE_SCALE, at most MASK_RANGE[1], where texture is the local standard deviation in
grey levels: on a plain wall the eye notices less change than in hair or cloth."""


class WatermarkEmbedder:
    """Embeds one number in the frames of one video of a given size."""

    def __init__(self, number: int, key: bytes, height: int, width: int):
        """Composes the fields.

        Args:
            number: 0 <= number < 2**BITS.
            key: KEY_BYTES or more.
            height, width: size of the frames, px.

        Raises:
            ValueError: the number does not fit, or the key is too short.
        """
        code = SpreadSpectrumCode(key)
        fields = code.spread(convolutional_code.encode(number, BITS)).reshape(-1, CELLS, CELLS).transpose(1, 2, 0)
        fields = cv2.resize(fields, (MASK_RASTER, MASK_RASTER), interpolation=cv2.INTER_CUBIC)
        self._fields = fields / fields.std()
        self._strength = strength(height, width)
        self._tint = TINT if min(height, width) < TINT_BELOW_PX else GRAY
        self._size = width, height

    def apply(
        self, frame: UInt8[np.ndarray, "height width channels"], index: int
    ) -> UInt8[np.ndarray, "height width channels"]:
        """Returns a marked copy of a frame.

        Args:
            frame: RGB, or RGBA with straight (not premultiplied) colours. With alpha, the change is multiplied by it.
            index: number of the frame from the start of the video, at FPS.

        Returns:
            The marked frame. Its PSNR against `frame`, over R, G and B, is at least MIN_PSNR_DB.
        """
        color = np.ascontiguousarray(frame[..., :3])
        change = self._change(cv2.cvtColor(color, cv2.COLOR_RGB2GRAY), index)
        alpha = frame[..., 3:]
        if alpha.size:
            change *= alpha[..., 0] / np.float32(255)
        marked = cv2.add(color, quantize_to_psnr(change[..., None] * self._tint), dtype=cv2.CV_8U)
        return np.dstack([marked, alpha]) if alpha.size else marked

    def apply_to_planes(self, picture: Picture, index: int) -> None:
        """Marks a picture of planes (see yuv.py) in place, like `apply`; the change is gray, so it is one of the luma alone."""
        luma = planes(picture)[0]
        # Every other row and column tell enough of the texture.
        change = self._change(np.ascontiguousarray(luma[::2, ::2]), index) * np.float32(LUMA_RANGE)
        cv2.add(luma, quantize_to_psnr(change, 1 / LUMA_RANGE), dst=luma, dtype=cv2.CV_8U)

    def over(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields all frames of a video, marked, from its first on: marked copies of RGB or RGBA, and planes changed in place."""
        for index, frame in enumerate(frames):
            if frame.ndim == 2:
                self.apply_to_planes(frame, index)
                yield frame
            else:
                yield self.apply(frame, index)

    def _change(self, gray: UInt8[np.ndarray, "_ _"], index: int) -> Float[np.ndarray, "height width"]:
        """Returns the change of brightness of a frame, in steps of 1/255."""
        phases = 2 * math.pi / PERIOD_S * index / FPS * np.arange(1, FREQUENCIES + 1)
        waves = np.stack([np.cos(phases), np.sin(phases)], -1).reshape(-1).astype(np.float32)
        change = cv2.resize(self._fields @ waves * perceptual_mask(gray), self._size, interpolation=cv2.INTER_CUBIC)
        change *= self._strength / max(1e-6, cv2.norm(change) / math.sqrt(change.size))
        return change


def strength(height: int, width: int) -> float:
    """Returns the root mean square of the change for a picture size, in 8-bit steps.

    Within the limits it is inversely proportional to the shorter edge: the same energy for every size.
    """
    return min(MAX_STRENGTH, max(MIN_STRENGTH, 128 / min(height, width) * STRENGTH_AT_128_PX))


def quantize_to_psnr(change: Float[np.ndarray, "*channels"], step: float = 1.0) -> Int16[np.ndarray, "*channels"]:
    """Rounds a change to 8-bit steps with a PSNR of at least MIN_PSNR_DB over R, G and B.

    Rounding can add energy; then the change is reduced until it is weak enough. The clipping of the marked frame to 0..255, later, can
    only make the change smaller.

    Args:
        change: of R, G and B, or of the luma, in 8-bit steps.
        step: how many steps of R, G and B one of these steps is.
    """
    max_energy = (255 / step) ** 2 / 10 ** (MIN_PSNR_DB / 10) * change.size
    while cv2.norm(steps := np.rint(change).astype(np.int16), cv2.NORM_L2SQR) > max_energy:
        change = change * np.float32(PSNR_STEP)
    return steps


def perceptual_mask(gray: UInt8[np.ndarray, "height width"]) -> Float[np.ndarray, "raster raster"]:
    """Returns how strong the watermark may be in each place: stronger in texture, weaker on plain surfaces; mean square 1."""
    gray = gray.astype(np.float32)
    raster = (MASK_RASTER, MASK_RASTER)
    mean, square = (cv2.resize(each, raster, interpolation=cv2.INTER_AREA) for each in (gray, gray * gray))
    texture = cv2.blur(np.sqrt(np.maximum(square - mean * mean, 0)), (3, 3))
    weakest, strongest = MASK_RANGE
    weight = np.clip(weakest + texture / TEXTURE_SCALE, weakest, strongest)
    return weight / np.sqrt((weight * weight).mean())
