"""Videos of another shape than the rendered frames: the frames are cut, or shown between blurred or coloured sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from adnerf_core.config import RenderOptions
from adnerf_core.files import yuv

RATIOS = {"16:9": 16 / 9, "9:16": 9 / 16, "1:1": 1.0, "4:5": 4 / 5}
"""Width to height."""
BLUR = 0.06
"""Standard deviation of the blur of the sides, as a share of the shorter edge: no feature of a face is left."""
DIMMED = 0.75
"""Brightness of blurred sides: the picture stands out before them."""
SMALL = 8
"""Factor by which the sides are scaled down while they are blurred: the blur hides it."""


class Reframing:
    """Changes the shape of frames of one size.

    Attributes:
        height, width: of the new frames, px.
    """

    def __init__(
        self, options: RenderOptions, height: int, width: int, face: tuple[float, float], size: int | None = None
    ):
        """Prepares the change.

        Args:
            options: `aspect` (not `source`), `fit` and `sides`.
            height: of the frames, px; even.
            width: of the frames, px; even.
            face: (row, col) of the middle of the face, px.
            size: longest edge of the new frames, px; None: as many as the frames give without being enlarged.
        """
        ratio = RATIOS[options.aspect]
        self._source = height, width
        self._cover, self._sides = options.fit == "cover", options.sides
        inner = (height, _even(height * ratio)) if width / height > ratio else (_even(width / ratio), width)
        if self._cover:
            self._box = tuple(_span(at, part, whole) for at, part, whole in zip(face, inner, self._source, strict=True))
        longest = size or max(inner if self._cover else (height, width))
        edges = (longest, longest * ratio) if ratio < 1 else (longest / ratio, longest)
        self.height, self.width = inner if self._cover and size is None else (max(2, _even(edge)) for edge in edges)
        fitting = min(self.height / height, self.width / width)
        self._fitted = tuple(
            max(2, min(_even(edge * fitting), outer))
            for edge, outer in zip(self._source, (self.height, self.width), strict=True)
        )

    def apply(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yields the frames in the new shape: RGB, straight RGBA, or planes (see yuv.py)."""
        for frame in frames:
            if frame.ndim == 3:
                yield self._picture(frame, 1, _black(frame.shape[2], self._sides))
            else:
                y, u, v = yuv.planes(frame)
                colors = _planes_color(self._sides)
                parts = [
                    self._picture(plane, half, color)
                    for plane, half, color in zip((y, u, v), (1, 2, 2), colors, strict=True)
                ]
                yield np.concatenate([part.reshape(-1) for part in parts]).reshape(-1, self.width)

    def _picture(self, plane: np.ndarray, half: int, color: Any) -> np.ndarray:
        """One picture or plane, whose edges are divided by `half`."""
        size = self.width // half, self.height // half
        if self._cover:
            rows, cols = (slice(part.start // half, part.stop // half) for part in self._box)
            return _resized(plane[rows, cols], size)
        fitted = _resized(plane, (self._fitted[1] // half, self._fitted[0] // half))
        canvas = (
            self._blurred(plane, size, half)
            if self._sides == "blur"
            else np.empty((*size[::-1], *plane.shape[2:]), np.uint8)
        )
        if self._sides != "blur":
            canvas[:] = color
        top, left = (
            ((outer - inner) // 2 // 2 * 2) // half
            for outer, inner in zip((self.height, self.width), self._fitted, strict=True)
        )
        canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
        return canvas

    def _blurred(self, plane: np.ndarray, size: tuple[int, int], half: int) -> np.ndarray:
        """The picture, enlarged to cover `size`, blurred and dimmed."""
        height, width = plane.shape[:2]
        scale = max(size[0] / width, size[1] / height)
        rows, cols = (round(edge / scale) for edge in size[::-1])
        top, left = (height - rows) // 2, (width - cols) // 2
        cut = np.ascontiguousarray(plane[top : top + rows, left : left + cols])
        tiny = cv2.resize(cut, tuple(max(2, edge // SMALL) for edge in size), interpolation=cv2.INTER_AREA)
        tiny = cv2.GaussianBlur(tiny, (0, 0), max(1.0, BLUR * min(size) / SMALL))
        neutral = {3: 0, 2: 16 if half == 1 else 128}[plane.ndim]
        dimmed = neutral + DIMMED * (tiny.astype(np.float32) - neutral)
        if plane.shape[2:] == (4,):
            dimmed[..., 3] = tiny[..., 3]
        return np.rint(cv2.resize(dimmed, size, interpolation=cv2.INTER_LINEAR)).clip(0, 255).astype(np.uint8)


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[1::-1] == size:
        return picture
    smaller = size[0] < picture.shape[1]
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _even(edge: float) -> int:
    return round(edge / 2) * 2


def _span(middle: float, part: int, whole: int) -> slice:
    """`part` px around `middle`, inside 0..whole; both ends are even."""
    start = min(max(0, _even(middle - part / 2)), whole - part)
    return slice(start, start + part)


def _black(channels: int, sides: str) -> np.ndarray:
    color = [int(sides[i : i + 2], 16) for i in (1, 3, 5)] if sides != "blur" else [0, 0, 0]
    return np.array([*color, 255][:channels], np.uint8)


def _planes_color(sides: str) -> np.ndarray:
    color = _black(3, sides) / 255
    return np.rint(yuv.RGB_TO_YUV @ (color * 255) + yuv.YUV_BLACK).astype(np.uint8)
