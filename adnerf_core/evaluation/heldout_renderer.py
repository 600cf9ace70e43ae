"""HeldOutRenderer: frames of the held-out footage rendered with any lip codes, whole or in part."""

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
from adnerf_core.synthesis.track_renderer import TrackRenderer

WRONG_SOUNDS = 4
"""Number of codes of wrong speech that each frame is rendered with. A mean over more of them depends less on their syllables, but each one
costs a rendering of the mouth."""
MOUTH_MARGIN = 0.12
"""Margin of the mouth's box around the landmarks of the lips, head units: a quarter of a mouth's width, so that the lips' own edges
and the skin that they move are measured too."""


@dataclass(frozen=True)
class LipCodes:
    """Speech codes of the held-out frames.

    predicted: from the audio.
    ground_truth: measured at the lips in the footage; None if codes are not shapes of the lips.
    """

    predicted: Float[Tensor, "frames code"]
    ground_truth: Float[Tensor, "frames code"] | None

    def mismatched(self) -> list[Float[Tensor, "frames code"]]:
        """Returns predicted codes of other times: the held-out part shifted by equal steps, so all are far from the right time."""
        step = len(self.predicted) / (WRONG_SOUNDS + 1)
        return [self.predicted.roll(round(step * (i + 1)), 0) for i in range(WRONG_SOUNDS)]


@torch.no_grad()
def lip_codes(subject: Subject, dataset: SubjectDataset, track: Track, frames: ndarray) -> LipCodes:
    """Returns the lip codes of `frames`, predicted from the audio and measured in the footage.

    The measured ones use the LipPca that the subject was trained with. A run that does not store one was trained with that of the
    dataset's training part, which is computed again.
    """
    device = subject.poses.device
    features = torch.from_numpy(dataset.features()).to(device)
    predicted = subject.model.encode_audio(features, torch.from_numpy(frames).to(device))
    if not subject.model.lip_code:
        return LipCodes(predicted, None)
    lip_pca = subject.lip_pca
    if lip_pca is None:
        trained = track.valid[: dataset.held_out_from]
        landmarks = track.canonical_landmarks[: dataset.held_out_from][trained]
        lip_pca = LipPca.fit(landmarks, subject.model.lip_code)
    return LipCodes(predicted, torch.from_numpy(lip_pca.encode(track.canonical_landmarks[frames])).to(device))


class HeldOutRenderer:
    """Renders frames of the footage with any lip codes, and tells where the mouth and the lower face are."""

    def __init__(self, subject: Subject, dataset: SubjectDataset, track: Track):
        self.subject, self.dataset, self.track = subject, dataset, track
        self.size = subject.size
        self.renderer = TrackRenderer(subject.model, track, subject.background)
        self.margin = MOUTH_MARGIN * interocular_px(subject.model.geometry.camera, track)

    def __call__(
        self, frame: int, code: Float[Tensor, " code"], part: Bool[ndarray, "size size"] | None = None
    ) -> Picture:
        """Renders `frame` with the lips of `code`; pixels outside `part` are black."""
        return self.renderer.render(frame, code, part)

    def truth(self, frame: int) -> Picture:
        """Returns the frame of the footage."""
        return self.dataset.picture(frame, self.size)

    def mouth(self, frame: int) -> Bool[ndarray, "size size"]:
        """Returns the box around the true lips."""
        return self._box_around(frame, LIPS)

    def lower_face(self, frame: int) -> Bool[ndarray, "size size"]:
        """Returns the box around everything that lips can move: from the bridge of the nose to below the chin."""
        return self._box_around(frame, (NOSE_BRIDGE, *JAW, *LIPS))

    def _box_around(self, frame: int, landmarks: tuple[int, ...]) -> Bool[ndarray, "size size"]:
        """Returns the box around `landmarks` of the footage, with the margin."""
        points = self.track.landmarks[frame][list(landmarks), :2] * (self.size / self.dataset.size)
        left, top = np.floor(points.min(0) - self.margin).astype(int).clip(0, self.size - 1)
        right, bottom = np.ceil(points.max(0) + self.margin).astype(int).clip(1, self.size)
        box = np.zeros((self.size, self.size), bool)
        box[top:bottom, left:right] = True
        return box
