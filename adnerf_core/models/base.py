"""TalkingHeadModel: what rendering, previews and evaluation ask of a portrait, whichever networks it is made of.

`portrait.Portrait` (the fast fields) and `paper.portrait.PaperPortrait` (AD-NeRF's own networks) answer it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from adnerf_core.models.talking_head import SceneGeometry


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

    def hear(self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]) -> Float[Tensor, "n code"]:
        """The codes of `frames` (numbers, 25 a second) of a sound, from its features (50 steps a second)."""
        ...

    def condition(
        self, code: Float[Tensor, "moments code"], upper: Float[Tensor, "moments 2"]
    ) -> Float[Tensor, "moments condition"]:
        """What the fields are conditioned on: a code, and what eyes and brows do (Track.upper_face)."""
        ...

    def paint(
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
