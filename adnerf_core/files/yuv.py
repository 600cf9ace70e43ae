"""Pictures as planes of YUV 4:2:0 (I420): BT.709, limited range, as H.264 stores them.

A picture of `height` x `width` px is a uint8 array [height * 3 / 2, width]: the plane Y, and then U and V, which have half its edges; both
edges are even. It has half the bytes of RGB, and a pixel that is not changed is not converted either.
"""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8

Picture = UInt8[np.ndarray, "_ _"]
Box = tuple[slice, slice]
"""Rows and columns of a part of a picture; all ends are even."""

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_BLUE, _RED = 1.8556, 1.5748
LUMA_RANGE, CHROMA_RANGE = 219 / 255, 224 / 255
"""BT.709: the weights of R, G and B in the luma, and the divisors that give U and V a range of 1; then the parts of 255 that 8 bits use."""
RGB_TO_YUV = np.stack(
    [
        LUMA_RANGE * _LUMA,
        CHROMA_RANGE * (np.array([0, 0, 1]) - _LUMA) / _BLUE,
        CHROMA_RANGE * (np.array([1, 0, 0]) - _LUMA) / _RED,
    ]
)
YUV_TO_RGB = np.linalg.inv(RGB_TO_YUV)
YUV_BLACK = np.array([16.0, 128.0, 128.0])


def planes(picture: Picture) -> tuple[UInt8[np.ndarray, "_ _"], ...]:
    """Returns Y, U and V as views of a picture."""
    rows, width = picture.shape
    height = rows * 2 // 3
    flat, half = picture.reshape(-1), (height // 2, width // 2)
    u, v = flat[height * width :].reshape(2, *half)
    return picture[:height], u, v


def halved(box: Box) -> Box:
    """Returns the part of U and V that belongs to `box`."""
    rows, cols = (slice(part.start // 2, part.stop // 2) for part in box)
    return rows, cols


def to_rgb(picture: Picture, box: Box) -> Float[np.ndarray, "rows cols 3"]:
    """Returns the colours of a part of a picture, R, G and B of 0..255, not rounded."""
    y, u, v = planes(picture)
    luma = y[box]
    chroma = [cv2.resize(plane[halved(box)], luma.shape[::-1], interpolation=cv2.INTER_LINEAR) for plane in (u, v)]
    offset = -YUV_TO_RGB @ YUV_BLACK
    merged = cv2.merge([luma, *chroma]).astype(np.float32)
    return cv2.transform(merged, np.column_stack([YUV_TO_RGB, offset]).astype(np.float32))


def add_rgb(picture: Picture, box: Box, change: Float[np.ndarray, "rows cols 3"]) -> None:
    """Adds a `change` of the colours, in steps of 1/255, to a part of a picture, in place."""
    y, u, v = planes(picture)
    luma, *chroma = cv2.split(cv2.transform(change, RGB_TO_YUV.astype(np.float32)))
    cv2.add(y[box], luma, dst=y[box], dtype=cv2.CV_8U)
    for plane, part in zip((u, v), chroma, strict=True):
        target = plane[halved(box)]
        half = cv2.resize(part, target.shape[::-1], interpolation=cv2.INTER_AREA)
        target[:] = cv2.add(target, half, dtype=cv2.CV_8U)
