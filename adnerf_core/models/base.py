"""What all talking-head models share: scene geometry, conditions, outputs, and the protocol TalkingHeadModel.

Two models satisfy the protocol: talking_head.TalkingHead (fast fields) and adnerf.AdNerf (the published networks).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adnerf_core.cameras.cameras import Camera
from adnerf_core.rendering.density_grid import DensityGrid
from adnerf_core.rendering.volume_rendering import RayOutput


@dataclass(frozen=True)
class SceneGeometry:
    """What is measured once in a subject's footage and stays fixed in training.

    camera: of the footage, at the size of the run.
    box_center, box_half: centre and half sides (x, y, z) of the head's box, head frame, head units.
    nose, nose_soft: height and softness of the line between what the lips move and what eyes and brows move, box units.
    hair: probability, 0..1, that hair hangs on the person's right and left shoulder.
    pose_mean, pose_std: of the head's pose (pose_angles) in the training frames.
    mouth: centre (x, y) and half sides (x, y) of the box in which the lips open, box units; None in older subjects.
    eyes: the same of the box around the eyes and brows, in which the lids move; None in older subjects.
    """

    camera: Camera
    box_center: tuple[float, float, float]
    box_half: tuple[float, float, float]
    nose: float
    nose_soft: float
    hair: tuple[float, float]
    pose_mean: tuple[float, ...]
    pose_std: tuple[float, ...]
    mouth: tuple[float, float, float, float] | None = None
    eyes: tuple[float, float, float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns plain values for JSON, which from_json reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SceneGeometry:
        """Restores what to_json returned, also a later version's, whose further values are left out."""
        known = {field.name for field in fields(cls)} - {"camera"}
        camera = dict(value["camera"], center=tuple(value["camera"]["center"]))
        return cls(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k in known},
            camera=Camera(**camera),
        )


@dataclass(frozen=True)
class FrameConditions:
    """What determines some frames besides the weights: what the person does in each of them.

    poses: camera-to-world poses, which are the head's poses (see cameras).
    torso_motion: x, y (half-widths of the image), angle (rad), log scale of the torso; see preprocess/torso_tracking.py.
    upper_face: openness of both eyes, height of the brows, and gaze (Track.upper_face).
    codes: of the speech: predicted from audio (TalkingHeadModel.encode_audio), or measured at the lips in the footage (LipPca).
    torso_poses: poses that the torso follows, if a changed view turns the head against it. None: those of the head.
    """

    poses: Float[Tensor, "frames 4 4"]
    torso_motion: Float[Tensor, "frames 4"]
    upper_face: Float[Tensor, "frames 5"]
    codes: Float[Tensor, "frames code"]
    torso_poses: Float[Tensor, "frames 4 4"] | None = None

    @property
    def has_changed_view(self) -> bool:
        """Whether a changed view turns the head against the torso."""
        return self.torso_poses is not None

    @property
    def poses_followed_by_torso(self) -> Float[Tensor, "frames 4 4"]:
        """The poses that the torso follows: `torso_poses` in a changed view, otherwise the head's."""
        return self.poses if self.torso_poses is None else self.torso_poses


class RenderOutputs(NamedTuple):
    """What both fields show along some rays, and the composited image.

    color: torso over head over background, 0..1.
    head, torso: the fields by themselves.
    """

    color: Float[Tensor, "rays 3"]
    head: RayOutput
    torso: RayOutput

    @property
    def transmittance(self) -> Float[Tensor, " rays"]:
        """The share of the background's light that passes both fields, 0..1."""
        return self.torso.transmittance * self.head.transmittance


@runtime_checkable
class TalkingHeadModel(Protocol):
    """One subject's model: it encodes speech, and renders frames that FrameConditions describe.

    Models name it as a base: from Python 3.12 on, isinstance() does not see attributes that torch keeps elsewhere, as `grid`.

    Previews, evaluation and videos render with frame_renderer.render_frame, which needs no more than this.

    geometry: of the subject's scene.
    grid: density grid of the head field, by which frames are rendered with few samples; None if the model has none.
    rays_per_chunk: number of rays that are rendered at once, which bounds the memory.
    refines_poses: whether the poses of held-out frames are refined with this model before they are evaluated.
    """

    geometry: SceneGeometry
    grid: DensityGrid | None
    rays_per_chunk: int
    refines_poses: bool

    @property
    @abstractmethod
    def lip_code(self) -> int:
        """Width of the speech code if it is the shape of the lips (LipPca), which footage shows too; 0 if it is not."""
        ...

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of the weights."""
        ...

    @abstractmethod
    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """Encodes the speech of some frames.

        Args:
            features: audio features, 50 steps a second.
            frames: frame numbers, 25 a second.
        """
        ...

    def __call__(
        self, frame: FrameConditions, pixels: Float[Tensor, "rays 2"], background: Float[Tensor, "rays 3"]
    ) -> RenderOutputs:
        """Renders `pixels` (row, col of the footage's camera) of one frame over the colours of `background`."""
        ...
