"""TalkingHeadModel: what rendering, previews and evaluation ask of a portrait, whichever networks it is made of.

`portrait.Portrait` (the fast fields) and `paper.portrait.PaperPortrait` (AD-NeRF's own networks) answer it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adnerf_core.cameras.cameras import Camera


@runtime_checkable
class TalkingHeadModel(Protocol):
    """One subject's portrait: it hears sound as codes, and paints the moments that conditions describe."""

    geometry: SceneGeometry

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    @property
    def lip_code(self) -> int:
        """Width of the code where it is the shape of the lips (see LipShape), which footage shows too; 0 where it is not."""
        ...

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """The codes of `frames` (numbers, 25 a second) of a sound, from its features (50 steps a second)."""
        ...

    def condition(
        self, code: Float[Tensor, "moments code"], upper: Float[Tensor, "moments 2"]
    ) -> Float[Tensor, "moments condition"]:
        """What the fields are conditioned on: a code, and what eyes and brows do (Track.upper_face)."""
        ...

    def render_pixels(
        self,
        pose: Float[Tensor, "4 4"],
        torso: Float[Tensor, " motion"],
        condition: Float[Tensor, " condition"],
        background: Float[Tensor, "pixels 3"],
        pixels: Float[Tensor, "pixels 2"],
        *,
        torso_pose: Float[Tensor, "4 4"] | None = None,
    ) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, " pixels"]]:
        """One moment at any set of pixels, as (colour 0..1, light left from the background), in bounded memory.

        `pixels` are places of the footage's camera, so a shifted or zoomed picture asks for shifted or scaled pixels.
        `torso_pose` is the pose the torso follows, where the head is turned against it (None: they go together).
        """
        ...


@dataclass(frozen=True)
class SceneGeometry:
    """What a portrait knows of its subject besides weights.

    camera: of the footage at the run's size; box: centre and half-edges (x, y, z) of the head, head frame; nose, nose_soft:
    height and softness of the line between what the sound moves and what the eyes move, box units; hair: how surely, 0..1, hair
    hangs on the person's right and left shoulder; pose_mean, pose_std: of the head's pose codes (pose_angles) in training.
    """

    camera: Camera
    box_center: tuple[float, float, float]
    box_half: tuple[float, float, float]
    nose: float
    nose_soft: float
    hair: tuple[float, float]
    pose_mean: tuple[float, ...]
    pose_std: tuple[float, ...]

    def to_json(self) -> dict:
        """Plain values, which from_json takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict) -> SceneGeometry:
        """The inverse of to_json."""
        camera = dict(value["camera"], center=tuple(value["camera"]["center"]))
        return cls(
            **{k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k != "camera"},
            camera=Camera(**camera),
        )
