"""AdNerf: AD-NeRF's own networks. The sound enters both fields directly, and both are volumes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from adnerf_core.audio.windows import windows
from adnerf_core.cameras.cameras import cast_rays, pose_angles
from adnerf_core.config import PaperConfig
from adnerf_core.fields.frequency_encoding import frequency_encode, frequency_encoding_dim
from adnerf_core.fields.nerf_mlp import NerfMlp
from adnerf_core.models.audionet import AFTER, BEFORE, AudioAttNet, AudioNet
from adnerf_core.models.base import SceneGeometry
from adnerf_core.rendering.ray_samplers import importance_sample, stratified_sample
from adnerf_core.rendering.volume_rendering import RayOutput, over, weights_from_density

INTEROCULAR_M = 0.09
"""A head unit (outer corner to outer corner of the eyes), m: the paper's scene, and so its encoding, is measured in metres."""
NEARER_M, FARTHER_M = 0.2, 0.4
"""How far before and behind the head's usual distance rays are sampled, m."""
LEAST_DENSITY = 1e-6


class CoarseFine(NamedTuple):
    """What the coarse and what the fine net of a field show along each ray."""

    coarse: RayOutput
    fine: RayOutput


class CoarseFineField(nn.Module):
    """A field as the paper renders it: a coarse net says where along the ray the fine one looks more closely."""

    def __init__(self, config: PaperConfig, condition: int):
        super().__init__()
        self.samples, self.more = config.coarse, config.fine
        self.coarse = NerfMlp(config, condition)
        self.fine = NerfMlp(config, condition)

    def forward(
        self,
        origins: Float[Tensor, "rays 3"],
        directions: Float[Tensor, "rays 3"],
        span: tuple[float, float],
        condition: Float[Tensor, "rays condition"],
        generator: torch.Generator | None = None,
    ) -> CoarseFine:
        """Marches rays (m; one step of `directions` is one metre of depth) between the depths `span`.

        A `generator` means training: places are drawn at random in their shares.
        """
        depths = stratified_sample(*span, len(origins), self.samples, generator, origins.device)
        coarse, weights = render_rays(self.coarse, origins, directions, depths, condition)
        middle = (depths[:, 1:] + depths[:, :-1]) / 2
        more = importance_sample(middle, weights[:, 1:].detach(), self.more, generator)
        depths = torch.cat([depths, more], -1).sort(-1).values
        return CoarseFine(coarse, render_rays(self.fine, origins, directions, depths, condition)[0])


def render_rays(
    field: NerfMlp,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    depths: Float[Tensor, "rays samples"],
    condition: Float[Tensor, "rays condition"],
) -> tuple[RayOutput, Float[Tensor, "rays intervals"]]:
    """What `field` shows along rays, and the weights of its samples.

    The last sample is the far plane: it is opaque and has the colour of whatever stands behind, so it is not asked for, and
    its share is the transmittance of the others (over() then gives the paper's sum).
    """
    rays, count = len(depths), depths.shape[1] - 1
    points = origins[:, None] + depths[:, :-1, None] * directions[:, None]
    lengths = directions.norm(dim=-1, keepdim=True)
    views = (directions / lengths)[:, None].expand(-1, count, -1)
    known = condition[:, None].expand(-1, count, -1)
    raw, color = field(points.reshape(-1, 3), views.reshape(-1, 3), known.reshape(rays * count, -1))
    density = raw.view(rays, count).relu() + LEAST_DENSITY
    weights, left = weights_from_density(density, depths.diff(dim=-1) * lengths)
    return RayOutput((weights[..., None] * color.view(rays, count, 3)).sum(1), left), weights


class AdNerf(nn.Module):
    """AudioNet and AudioAttNet, the head's volume and the torso's volume of one subject. A Likeness.

    The condition is the code of the sound. The torso stands still before a camera at `torso_pose`, and has as its condition
    the code and the head's pose: angles and translation (m), encoded.
    """

    torso_pose: Tensor
    attends: Tensor
    lip_code = 0

    def __init__(self, config: PaperConfig, geometry: SceneGeometry, feature_width: int):
        super().__init__()
        self.config, self.geometry = config, geometry
        self.audio = AudioNet(feature_width, config.audio_code)
        self.attention = AudioAttNet(config.audio_code)
        self.head = CoarseFineField(config, config.audio_code)
        self.torso = CoarseFineField(config, config.audio_code + frequency_encoding_dim(6, config.pose_bands))
        distance = -geometry.pose_mean[5] * INTEROCULAR_M
        self.span = (distance - NEARER_M, distance + FARTHER_M)
        self.register_buffer("torso_pose", torch.eye(4))
        self.register_buffer("attends", torch.tensor(False))

    @property
    def device(self) -> torch.device:
        """Where the portrait's weights are."""
        return self.torso_pose.device

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """See TalkingHeadModel.encode_audio. Neighbours are those in time; before the start and after the end there is silence."""
        if not self.attends:
            return self.audio(windows(features, frames))
        neighbours = frames[:, None] + torch.arange(-BEFORE, AFTER, device=frames.device)
        codes = self.audio(windows(features, neighbours.flatten()))
        return self.attention(codes.view(*neighbours.shape, self.config.audio_code))

    @staticmethod
    def condition(
        code: Float[Tensor, "moments code"], upper: Float[Tensor, "moments 2"]
    ) -> Float[Tensor, "moments code"]:
        """The code itself: in the paper, eyes and brows have no condition of their own."""
        return code

    def torso_condition(self, code: Float[Tensor, " code"], pose: Float[Tensor, "4 4"]) -> Float[Tensor, " condition"]:
        """The torso's condition while the camera has `pose` in the head's frame."""
        angles, translation = pose_angles(pose).split(3)
        bands = self.config.pose_bands
        return torch.cat([code, frequency_encode(angles, bands), frequency_encode(translation * INTEROCULAR_M, bands)])

    def render_head(
        self,
        pose: Float[Tensor, "4 4"],
        pixels: Float[Tensor, "rays 2"],
        code: Float[Tensor, " code"],
        generator: torch.Generator | None = None,
    ) -> CoarseFine:
        """The head at `pixels` of the geometry's camera."""
        return self._see(self.head, pose, pixels, code, generator)

    def render_torso(
        self,
        pose: Float[Tensor, "4 4"],
        pixels: Float[Tensor, "rays 2"],
        code: Float[Tensor, " code"],
        generator: torch.Generator | None = None,
    ) -> CoarseFine:
        """The torso while the head has `pose`; its own camera does not move."""
        return self._see(self.torso, self.torso_pose, pixels, self.torso_condition(code, pose), generator)

    def _see(
        self,
        volume: CoarseFineField,
        pose: Tensor,
        pixels: Tensor,
        condition: Tensor,
        generator: torch.Generator | None,
    ) -> CoarseFine:
        rays = cast_rays(self.geometry.camera, pose.expand(len(pixels), 4, 4), pixels)
        depth = -(rays.directions @ pose[:3, 2])  # of one step: cameras look down -z
        directions = rays.directions / depth[:, None]
        known = condition.expand(len(pixels), -1)
        return volume(rays.origins * INTEROCULAR_M, directions, self.span, known, generator)

    @torch.no_grad()
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
        """See TalkingHeadModel.render_pixels. Every ray is marched in full; the tracked motion of the torso is not used, as in the paper."""
        color, left = torch.empty_like(background), torch.empty(len(pixels), device=pixels.device)
        for part in torch.arange(len(pixels), device=pixels.device).split(self.config.chunk):
            head = self.render_head(pose, pixels[part], condition).fine
            body = self.render_torso(pose if torso_pose is None else torso_pose, pixels[part], condition).fine
            color[part] = over(body, over(head, background[part]))
            left[part] = body.transmittance * head.transmittance
        return color, left
