"""AdNerf: the networks as published (AD-NeRF, Guo et al., ICCV 2021), for the preset `paper`.

The audio code enters both fields directly, and the torso is a second volume, not a deformed image (docs/decisions/0012).
"""

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
from adnerf_core.models.base import FrameConditions, RenderOutputs, SceneGeometry, TalkingHeadModel
from adnerf_core.rendering.ray_samplers import importance_sample, stratified_sample
from adnerf_core.rendering.volume_rendering import RayOutput, over, weights_from_density

INTEROCULAR_M = 0.09
"""Length of a head unit (distance between the outer corners of the eyes), m. Positions are converted to metres before they are encoded, so that
frequencies and depths mean what they mean in the paper's scenes (docs/decisions/0012)."""
NEAR_MARGIN_M, FAR_MARGIN_M = 0.2, 0.4
"""Rays are sampled from this far before to this far behind the mean distance of the head, m: the published near and far."""
MIN_DENSITY = 1e-6
"""Added to every density, 1/m, as in the published code; over a metre it stops a millionth of the light."""


class CoarseFine(NamedTuple):
    """What the coarse and the fine network of a field show along each ray; the image consists of `fine`."""

    coarse: RayOutput
    fine: RayOutput


class CoarseFineField(nn.Module):
    """A field of two networks: the fine one is evaluated where the coarse one found matter (NeRF, section 5.2)."""

    def __init__(self, config: PaperConfig, condition: int):
        """`condition` is the width of the condition."""
        super().__init__()
        self.coarse_samples, self.fine_samples = config.coarse, config.fine
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
        """Renders rays with both networks.

        Args:
            origins: m.
            directions: m for each metre of depth, so that distances along a ray are depths.
            span: depths between which rays are sampled, m.
            condition: one a ray.
            generator: for training: depths are drawn at random. None: they are evenly spaced.
        """
        depths = stratified_sample(*span, len(origins), self.coarse_samples, generator, origins.device)
        coarse, weights = render_rays(self.coarse, origins, directions, depths, condition)
        # The weight of sample i belongs to the interval between the middles before and after it; the first has none before.
        middle = (depths[:, 1:] + depths[:, :-1]) / 2
        fine_depths = importance_sample(middle, weights[:, 1:].detach(), self.fine_samples, generator)
        depths = torch.cat([depths, fine_depths], -1).sort(-1).values
        return CoarseFine(coarse, render_rays(self.fine, origins, directions, depths, condition)[0])


def render_rays(
    field: NerfMlp,
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    depths: Float[Tensor, "rays samples"],
    condition: Float[Tensor, "rays condition"],
) -> tuple[RayOutput, Float[Tensor, "rays intervals"]]:
    """Computes the paper's equations 2 and 3 for F: (a, d, x) -> (c, sigma) at the given depths.

    In the paper the last sample is opaque and has the colour of the background. It is not evaluated here: its weight is the
    transmittance of the others, so over(output, background) is the same sum, and the background stays exchangeable.

    Args:
        field: F.
        origins, directions: as in CoarseFineField.forward.
        depths: ascending.
        condition: a (head), or a with the head's pose (torso); one a ray.

    Returns:
        The output, and the weights of all samples but the last.
    """
    rays, count = len(depths), depths.shape[1] - 1
    points = origins[:, None] + depths[:, :-1, None] * directions[:, None]
    lengths = directions.norm(dim=-1, keepdim=True)
    unit_directions = (directions / lengths)[:, None].expand(-1, count, -1)
    condition = condition[:, None].expand(-1, count, -1)
    raw, color = field(points.reshape(-1, 3), unit_directions.reshape(-1, 3), condition.reshape(rays * count, -1))
    density = raw.view(rays, count).relu() + MIN_DENSITY
    weights, transmittance = weights_from_density(density, depths.diff(dim=-1) * lengths)
    return RayOutput((weights[..., None] * color.view(rays, count, 3)).sum(1), transmittance), weights


class AdNerf(nn.Module, TalkingHeadModel):
    """AudioNet, AudioAttNet, head field and torso field of one subject. Satisfies TalkingHeadModel.

    The head's condition is the audio code a. The torso is seen by a camera that stands still at `torso_pose`; its condition is a and the
    encoded angles and translation (m) of the head (section 3.3).

    attends: whether AudioAttNet is used; training switches it on (PaperConfig.attention_from). A buffer, since it is part of the model.
    """

    torso_pose: Tensor
    attends: Tensor
    lip_code = 0
    grid = None
    refines_poses = False

    def __init__(self, config: PaperConfig, geometry: SceneGeometry, feature_width: int):
        """Makes fresh networks for audio features of `feature_width`."""
        super().__init__()
        self.config, self.geometry = config, geometry
        self.rays_per_chunk = config.chunk
        self.audio = AudioNet(feature_width, config.audio_code)
        self.attention = AudioAttNet(config.audio_code)
        self.head = CoarseFineField(config, config.audio_code)
        self.torso = CoarseFineField(config, config.audio_code + frequency_encoding_dim(6, config.pose_bands))
        distance = -geometry.pose_mean[5] * INTEROCULAR_M
        self.span = (distance - NEAR_MARGIN_M, distance + FAR_MARGIN_M)
        self.register_buffer("torso_pose", torch.eye(4))
        self.register_buffer("attends", torch.tensor(False))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.torso_pose.device

    def forward(
        self, frame: FrameConditions, pixels: Float[Tensor, "rays 2"], background: Float[Tensor, "rays 3"]
    ) -> RenderOutputs:
        """Renders rays of one frame separately, following figure 2 of the paper, with the fine networks.

        Audio code -> head field, composited over the background -> torso field, composited over that. Upper face and torso motion of
        `frame` are not used: the paper has neither.
        """
        (pose,), (code,) = frame.poses, frame.codes
        (torso_pose,) = frame.poses_followed_by_torso
        head = self.render_head(pose, pixels, code).fine
        torso = self.render_torso(torso_pose, pixels, code).fine
        return RenderOutputs(over(torso, over(head, background)), head, torso)

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """Returns the audio codes of `frames`, smoothed by AudioAttNet once it is used; see TalkingHeadModel.encode_audio.

        Neighbours are those in time; there is silence before the start and after the end.
        """
        if not self.attends:
            return self.audio(windows(features, frames))
        neighbours = frames[:, None] + torch.arange(-BEFORE, AFTER, device=frames.device)
        codes = self.audio(windows(features, neighbours.flatten()))
        return self.attention(codes.view(*neighbours.shape, self.config.audio_code))

    def torso_condition(self, code: Float[Tensor, " code"], pose: Float[Tensor, "4 4"]) -> Float[Tensor, " condition"]:
        """Returns the torso's condition: the code, and the encoded angles and translation of the head at camera-to-world `pose`."""
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
        """Renders the head field.

        Args:
            pose: camera-to-world.
            pixels: (row, col) of the footage's camera.
            code: audio code of the frame.
            generator: for training, see CoarseFineField.forward.
        """
        return self._render(self.head, pose, pixels, code, generator)

    def render_torso(
        self,
        pose: Float[Tensor, "4 4"],
        pixels: Float[Tensor, "rays 2"],
        code: Float[Tensor, " code"],
        generator: torch.Generator | None = None,
    ) -> CoarseFine:
        """Renders the torso field while the head has `pose`; its own camera stands still. Arguments as in render_head."""
        return self._render(self.torso, self.torso_pose, pixels, self.torso_condition(code, pose), generator)

    def _render(
        self,
        field: CoarseFineField,
        pose: Tensor,
        pixels: Tensor,
        condition: Tensor,
        generator: torch.Generator | None,
    ) -> CoarseFine:
        """Renders `field` seen by the footage's camera at `pose`, in metres."""
        rays = cast_rays(self.geometry.camera, pose.expand(len(pixels), 4, 4), pixels)
        depth = -(rays.directions @ pose[:3, 2])  # of a step of unit length: cameras look down -z
        directions = rays.directions / depth[:, None]
        conditions = condition.expand(len(pixels), -1)
        return field(rays.origins * INTEROCULAR_M, directions, self.span, conditions, generator)
