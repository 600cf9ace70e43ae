"""TrackRenderer: frames of a subject's own footage, rendered with any speech codes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from adnerf_core.data.dataset import Track
from adnerf_core.files.images import to_uint8
from adnerf_core.models.base import FrameConditions, TalkingHeadModel
from adnerf_core.models.frame_renderer import render_frame


class TrackRenderer:
    """Renders frames of a track over the clean plate: pose, torso motion and upper face are the footage's own."""

    def __init__(self, model: TalkingHeadModel, track: Track, plate: Float[Tensor, "size size 3"]):
        """Renders `model` along `track`; `plate` is the background, colours 0..1."""
        self.model, self.device = model, model.device
        self.size = model.geometry.camera.width
        self.pixels = model.geometry.camera.pixel_grid(self.device)
        self.plate = plate.reshape(-1, 3)
        self.poses, self.torso_motion, self.upper_face = (
            torch.from_numpy(values).float().to(self.device) for values in (track.pose, track.torso, track.upper_face())
        )

    def render(
        self, frame: int, code: Float[Tensor, " code"], mask: Bool[np.ndarray, "size size"] | None = None
    ) -> UInt8[np.ndarray, "size size 3"]:
        """Renders one valid frame of the track as an RGB image.

        Args:
            frame: number of the frame.
            code: speech code, which determines the lips.
            mask: the pixels that are rendered; the others are black. None: all.
        """
        inside = slice(None) if mask is None else torch.from_numpy(mask.reshape(-1)).to(self.device)
        at = slice(frame, frame + 1)
        conditions = FrameConditions(self.poses[at], self.torso_motion[at], self.upper_face[at], code[None])
        image = torch.zeros_like(self.plate)
        image[inside] = render_frame(self.model, conditions, self.pixels[inside], self.plate[inside]).color
        return to_uint8(image.reshape(self.size, self.size, 3).cpu().numpy())
