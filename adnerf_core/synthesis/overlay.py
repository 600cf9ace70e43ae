"""Something that is drawn over frames: colours and opacity in one place of the picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from adnerf_core.files import yuv

Place = tuple[slice, slice]
"""Rows and columns of a part of the picture."""


class Overlay:
    """Colours with an opacity, in a part of the pictures of one size."""

    def __init__(
        self, place: Place, premultiplied: Float[np.ndarray, "rows cols _"], opacity: Float[np.ndarray, "rows cols 1"]
    ):
        """Keeps what is drawn.

        Args:
            place: where.
            premultiplied: colours 0..1, multiplied by the opacity; one channel is a gray.
            opacity: 0..1.
        """
        self._place, self._premultiplied, self._opacity = place, premultiplied, opacity

    def draw_on_planes(self, picture: yuv.Picture) -> None:
        """Draws into a picture of planes, in place."""
        # The even box around the place, and the place in it.
        box = tuple(slice(part.start // 2 * 2, -(-part.stop // 2) * 2) for part in self._place)
        inside = tuple(
            slice(part.start - outer.start, part.stop - outer.start)
            for part, outer in zip(self._place, box, strict=True)
        )
        below = yuv.to_rgb(picture, box)
        change = np.zeros_like(below)
        change[inside] = self._premultiplied * 255 - self._opacity * below[inside]
        yuv.add_rgb(picture, box, change)

    def draw(self, frame: UInt8[np.ndarray, "rows cols channels"]) -> UInt8[np.ndarray, "rows cols channels"]:
        """Returns a copy of a frame, RGB or straight RGBA, with the overlay on it."""
        drawn = frame.copy()
        below = frame[self._place].astype(np.float32) / 255
        below_opacity = below[..., 3:] if frame.shape[-1] == 4 else np.float32(1)
        below_share = (1 - self._opacity) * below_opacity
        opacity = self._opacity + below_share
        color = (self._premultiplied + below_share * below[..., :3]) / np.maximum(opacity, 1e-6)
        layers = [color, opacity] if frame.shape[-1] == 4 else [color]
        drawn[self._place] = np.concatenate(layers, -1) * 255 + 0.5
        return drawn

    def over(self, frame: np.ndarray) -> np.ndarray:
        """Returns a frame with the overlay on it: a copy of RGB or straight RGBA; planes (see yuv.py) are changed in place."""
        if frame.ndim == 2:
            self.draw_on_planes(frame)
            return frame
        return self.draw(frame)
