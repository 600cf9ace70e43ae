"""Where a full frame is rendered: the part of the footage that the lips can move, with a soft edge."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.cameras.cameras import Camera, project
from adnerf_core.files.yuv import Box
from adnerf_core.synthesis.playback import Playback

FEATHER = 0.2
"""Width of the soft edge, head units (distance of the outer corners of the eyes): about 2 cm of skin, over which a difference of colour is
too gradual to be seen."""
SUBPIXEL_BITS = 4
"""Fractional bits of the corners that OpenCV draws."""


class SoftMask(NamedTuple):
    """What part of a picture is rendered.

    box: the part of the picture that the mask covers; its edges are even.
    share: of the rendered colour in each pixel of the box, 0..1.
    """

    box: Box
    share: Float[ndarray, "rows cols"]


class LipRegion:
    """Projects the region of a subject to pictures of one size."""

    def __init__(self, playback: Playback, camera: Camera, width: int, height: int):
        """Prepares the projection to pictures of `width` x `height` px that show the whole footage; `camera` is the subject's."""
        self.camera, self.outline = camera, playback.outline
        self.width, self.height = width, height
        self.scale = np.array([height / playback.height, width / playback.width])
        x, y, side = playback.crop
        self.corner, self.side = np.array([y, x]) * self.scale, side * self.scale

    @property
    def camera_px(self) -> float:
        """Side of a pixel of the picture, px of the subject's camera."""
        return float(self.camera.height / self.side.min())

    def to_camera(self, places: Float[ndarray, "n 2"]) -> Float[ndarray, "n 2"]:
        """Maps places (row, col) in the picture to places in the image of the subject's camera, px."""
        return (places - self.corner) / self.side * self.camera.height

    def mask(self, pose: Float[Tensor, "4 4"]) -> SoftMask:
        """Returns what is rendered of a picture that shows the head in `pose`."""
        places = project(self.camera, pose, self.outline).cpu().numpy() / self.camera.height * self.side + self.corner
        feather = FEATHER * self.head_unit(pose)
        box = self._box(places, feather)
        origin = np.array([part.start for part in box])
        share = np.zeros([part.stop - part.start for part in box], np.float32)
        corners = np.rint((places - origin - 0.5)[:, ::-1] * (1 << SUBPIXEL_BITS)).astype(np.int32)
        cv2.fillPoly(share, [corners], 1.0, shift=SUBPIXEL_BITS)
        self._cut_to_crop(share, origin, feather / 2)
        # Two standard deviations on either side of the edge hold all but 5 % of its blur.
        share = cv2.GaussianBlur(share, (0, 0), feather / 4, borderType=cv2.BORDER_REPLICATE)
        return SoftMask(box, np.clip(1.1 * share - 0.05, 0, 1))

    def head_unit(self, pose: Float[Tensor, "4 4"]) -> float:
        """Returns the length of a head unit at the head's distance, px of the picture."""
        return float(self.camera.focal / torch.linalg.norm(pose[:3, 3]) / self.camera.height * self.side[0])

    def _box(self, places: Float[ndarray, "points 2"], margin: float) -> Box:
        """Returns the even box around `places` that lies inside the crop and the picture."""
        low = np.maximum(np.maximum(places.min(0) - margin, self.corner), 0)
        high = np.minimum(np.minimum(places.max(0) + margin, self.corner + self.side), (self.height, self.width))
        low, high = (np.ceil(low / 2) * 2).astype(int), (np.floor(high / 2) * 2).astype(int)
        return slice(low[0], max(low[0] + 2, high[0])), slice(low[1], max(low[1] + 2, high[1]))

    def _cut_to_crop(self, share: Float[ndarray, "rows cols"], origin: ndarray, inset: float) -> None:
        """Clears the mask beside those edges of the crop at which the picture goes on, so that its soft edge ends there."""
        first = np.ceil(self.corner + inset - origin).astype(int)
        last = np.floor(self.corner + self.side - inset - origin).astype(int)
        for axis, end in enumerate((self.height, self.width)):
            rows = share if axis == 0 else share.T
            if self.corner[axis] > 1:
                rows[: max(0, first[axis])] = 0
            if self.corner[axis] + self.side[axis] < end - 1:
                rows[max(0, last[axis]) :] = 0
