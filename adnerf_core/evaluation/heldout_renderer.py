"""HeldOutRenderer: moments of the held-out footage as the subject renders them, with any lips, whole or in part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from adnerf_core.data.dataset import SubjectDataset, Track, interocular_px
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.face.landmarks import JAW, NOSE_BRIDGE
from adnerf_core.face.lip_pca import LIPS, LipPca
from adnerf_core.synthesis.subject import Subject

WRONG_SOUNDS = 4
MOUTH_MARGIN = 0.12
"""Around the lips' landmarks, head units: the box in which the mouth's figures are taken."""


@dataclass(frozen=True)
class LipCodes:
    """Codes of the held-out frames: from the sound; and measured in the footage, where codes are shapes of the lips."""

    heard: Float[Tensor, "frames code"]
    seen: Float[Tensor, "frames code"] | None

    def wrong(self) -> list[Float[Tensor, "frames code"]]:
        """Codes heard at other moments of the held-out part, far from the right ones and from one another."""
        step = len(self.heard) / (WRONG_SOUNDS + 1)
        return [self.heard.roll(round(step * (i + 1)), 0) for i in range(WRONG_SOUNDS)]


@torch.no_grad()
def lip_codes(subject: Subject, dataset: SubjectDataset, track: Track, frames: ndarray) -> LipCodes:
    """Returns the lip codes of `frames`, predicted from the sound and measured in the footage.

    The measured ones use the LipPca that the subject was trained with. A run that does not store one was trained with that of the
    dataset's training part, which is computed again.
    """
    device = subject.poses.device
    features = torch.from_numpy(dataset.features()).to(device)
    heard = subject.portrait.encode_audio(features, torch.from_numpy(frames).to(device))
    if not subject.portrait.lip_code:
        return LipCodes(heard, None)
    lip_pca = subject.lip_pca
    if lip_pca is None:
        trained = track.valid[: dataset.held_out_from]
        landmarks = track.canonical_landmarks[: dataset.held_out_from][trained]
        lip_pca = LipPca.fit(landmarks, subject.portrait.lip_code)
    return LipCodes(heard, torch.from_numpy(lip_pca.encode(track.canonical_landmarks[frames])).to(device))


class HeldOutRenderer:
    """Renders moments of the footage, with any lips, whole or in part."""

    def __init__(self, subject: Subject, dataset: SubjectDataset, track: Track):
        self.subject, self.dataset, self.track = subject, dataset, track
        self.size = subject.size
        self.device = subject.poses.device
        self.pixels = subject.portrait.geometry.camera.pixel_grid(self.device)
        self.plate = subject.background.reshape(-1, 3)
        self.upper = torch.from_numpy(track.upper_face()).to(self.device)
        self.margin = MOUTH_MARGIN * interocular_px(subject.portrait.geometry.camera, track)

    def __call__(
        self, frame: int, code: Float[Tensor, " code"], part: Bool[ndarray, "size size"] | None = None
    ) -> Picture:
        """The portrait at `frame` with the lips of `code`, [size, size, 3]; black outside `part`."""
        portrait = self.subject.portrait
        inside = slice(None) if part is None else torch.from_numpy(part.reshape(-1)).to(self.device)
        pose, torso = (
            torch.from_numpy(values[frame]).float().to(self.device) for values in (self.track.pose, self.track.torso)
        )
        condition = portrait.condition(code[None], self.upper[frame : frame + 1])[0]
        picture = torch.zeros_like(self.plate)
        picture[inside], _ = portrait.render_pixels(pose, torso, condition, self.plate[inside], self.pixels[inside])
        picture = picture.clamp(0, 1) * 255 + 0.5
        return picture.byte().cpu().numpy().reshape(self.size, self.size, 3)

    def truth(self, frame: int) -> Picture:
        """The footage at `frame`."""
        return self.dataset.picture(frame, self.size)

    def mouth(self, frame: int) -> Bool[ndarray, "size size"]:
        """The box around the true lips at `frame`."""
        return self._around(frame, LIPS)

    def lower_face(self, frame: int) -> Bool[ndarray, "size size"]:
        """The box around all that the lips can move at `frame`: from the nose's bridge to below the chin."""
        return self._around(frame, (NOSE_BRIDGE, *JAW, *LIPS))

    def _around(self, frame: int, landmarks: tuple[int, ...]) -> Bool[ndarray, "size size"]:
        points = self.track.landmarks[frame][list(landmarks), :2] * (self.size / self.dataset.size)
        left, top = np.floor(points.min(0) - self.margin).astype(int).clip(0, self.size - 1)
        right, bottom = np.ceil(points.max(0) + self.margin).astype(int).clip(1, self.size)
        box = np.zeros((self.size, self.size), bool)
        box[top:bottom, left:right] = True
        return box
