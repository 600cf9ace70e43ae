"""Pictures for the eye: how far a training is, and what the finished subject looks like."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8

from adnerf_core.cameras.view_control import canonical_frame
from adnerf_core.data.dataset import SubjectDataset, Track
from adnerf_core.files.images import image_to_tensor, to_uint8, write_rgb
from adnerf_core.files.run_dir import RunDir
from adnerf_core.models.base import TalkingHeadModel

PREVIEWS = 4


class Previewer:
    """Renders frames of the footage with their true lips."""

    def __init__(
        self, portrait: TalkingHeadModel, dataset: SubjectDataset, track: Track, codes: Float[np.ndarray, "frames code"]
    ):
        self.portrait, self.dataset, self.track, self.codes = portrait, dataset, track, codes
        self.upper = torch.from_numpy(track.upper_face())
        self.device = str(portrait.device)
        self.size = portrait.geometry.camera.width
        self.pixels = portrait.geometry.camera.pixel_grid(self.device)
        self.plate = image_to_tensor(dataset.background(self.size), self.device).reshape(-1, 3)

    def frame(self, k: int) -> UInt8[np.ndarray, "size size 3"]:
        """Frame `k` of the footage as the portrait shows it, RGB. `k` must be a valid frame."""
        pose = torch.from_numpy(self.track.pose[k]).float().to(self.device)
        code = torch.from_numpy(self.codes[k : k + 1]).float().to(self.device)
        torso = torch.from_numpy(self.track.torso[k]).float().to(self.device)
        color, _ = self.portrait.render_pixels(
            pose,
            torso,
            self.portrait.condition(code, self.upper[k : k + 1].to(self.device))[0],
            self.plate,
            self.pixels,
        )
        return to_uint8(color.reshape(self.size, self.size, 3).cpu().numpy())

    def strip(self, run: RunDir, name: str) -> None:
        """Writes previews/`name`.jpg: held-out frames, the footage above and the portrait below. The newest is preview.jpg too."""
        valid = np.flatnonzero(self.track.valid)
        valid = valid[valid >= self.dataset.held_out_from]
        chosen = [int(k) for k in valid[np.linspace(0, len(valid) - 1, PREVIEWS).round().astype(int)]]
        truth = np.hstack([self.dataset.picture(k, self.size) for k in chosen])
        picture = np.vstack([truth, np.hstack([self.frame(k) for k in chosen])])
        write_rgb(run.previews / f"{name}.jpg", picture)
        write_rgb(run.preview, picture)

    def final(self, run: RunDir) -> None:
        """Writes preview.jpg: the finished portrait in its most usual pose."""
        valid = np.flatnonzero(self.track.valid[: self.dataset.held_out_from])
        k = int(valid[canonical_frame(torch.from_numpy(self.track.pose[valid]))])
        write_rgb(run.preview, self.frame(k))
