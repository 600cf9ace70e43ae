"""Previews: images that show the progress of a training and the finished subject."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

from adnerf_core.cameras.view_control import canonical_frame
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.files.images import image_to_tensor, write_rgb
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.base import TalkingHeadModel
from adnerf_core.synthesis.track_renderer import TrackRenderer

PREVIEWS = 4
"""Held-out frames side by side in a comparison: enough to see several mouth shapes, and little beside the time between checkpoints."""


class Previewer:
    """Renders frames of the footage with the speech codes of the footage."""

    def __init__(
        self, model: TalkingHeadModel, dataset: SubjectDataset, track: Track, codes: Float[np.ndarray, "frames code"]
    ):
        """Prepares previews of `model`; `codes` are those of all frames."""
        self.dataset, self.track = dataset, track
        self.size = model.geometry.camera.width
        self.codes = torch.from_numpy(codes).float().to(model.device)
        plate = image_to_tensor(dataset.background(self.size), str(model.device))
        self.renderer = TrackRenderer(model, track, plate)

    def frame(self, frame: int) -> UInt8[np.ndarray, "size size 3"]:
        """Renders a valid frame of the footage as an RGB image."""
        return self.renderer.render(frame, self.codes[frame])

    def write_comparison(self, run: RunDir, name: str) -> None:
        """Writes previews/`name`.jpg and preview.jpg: held-out frames, the footage above and the rendering below."""
        valid = np.flatnonzero(self.track.valid)
        valid = valid[valid >= self.dataset.held_out_from]
        frames = [int(k) for k in valid[np.linspace(0, len(valid) - 1, PREVIEWS).round().astype(int)]]
        footage = np.hstack([self.dataset.picture(k, self.size) for k in frames])
        comparison = np.vstack([footage, np.hstack([self.frame(k) for k in frames])])
        write_rgb(run.previews / f"{name}.jpg", comparison)
        write_rgb(run.preview, comparison)

    def write_final(self, run: RunDir) -> None:
        """Writes preview.jpg: the finished subject in its canonical frame."""
        valid = np.flatnonzero(self.track.valid[: self.dataset.held_out_from])
        write_rgb(run.preview, self.frame(int(valid[canonical_frame(torch.from_numpy(self.track.pose[valid]))])))
