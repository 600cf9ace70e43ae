"""TalkingHead: one person as two radiance fields driven by speech (AD-NeRF, Guo et al., ICCV 2021, figure 2), in a fast form.

The paper's head field is F: (a, d, x) -> (c, sigma) (equation 1): from the audio code a, the viewing direction d and the place x to
colour and density. Here the feature planes of HeadField give sigma and features, which are summed along the ray and decoded to a
colour with d once a ray. The paper's second field, the torso, is conditioned on the head's pose and translation too (section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adnerf_core.audio.encoder import MultiStreamEncoder
from adnerf_core.audio.features import Stream
from adnerf_core.audio.windows import windows
from adnerf_core.cameras.cameras import RayBundle, cast_rays, pose_angles
from adnerf_core.config import TORSO_REGION_CELLS, FieldConfig, MarchConfig
from adnerf_core.fields.head_field import ColorDecoder, HeadField
from adnerf_core.fields.torso_field import TorsoField
from adnerf_core.models.base import FrameConditions, RenderOutputs, SceneGeometry, TalkingHeadModel
from adnerf_core.rendering.chosen_rays import ChosenRays, trains_on_cuda
from adnerf_core.rendering.density_grid import DensityGrid
from adnerf_core.rendering.head_deformation import to_canonical
from adnerf_core.rendering.ray_samplers import blur_weights, importance_sample_edges
from adnerf_core.rendering.volume_rendering import (
    RayOutput,
    distortion_loss,
    intersect_aabb,
    over,
    weights_from_density,
)

MIN_RAY_OPACITY_STRICT, MIN_RAY_OPACITY_RENDER = 0.02, 0.1
"""A ray is skipped if the density grid estimates an opacity below this: the first value applies in training and in changed views, the
second in all other renderings. The grid holds the largest recent density of a cell, so it overestimates: a ray of a finished field is empty
if the grid estimates 0.1 for it. In training the grid does not hold all matter yet, and in changed views rays graze surfaces, where the
grid is least accurate, so both need a lower bound. Unmeasured."""
MAX_BIN_OPTICAL_DEPTH, MAX_BIN_OPTICAL_DEPTH_NOVEL_VIEW = 0.7, 0.3
"""Limit of the optical depth that the density grid gives one bin of a ray; the second value applies in changed views. A cell holds the
largest density over its points and over all conditions, so the surface may lie a little behind it. At 0.7 a bin stops at most half of
the light, and some samples fall behind it; with opaque bins, cheeks and jaw showed speckles (docs/decisions/0002). In changed views a
limit of 0.7 left gaps at the temples, and 0.3 closes them. Twice the samples close them too, at twice the cost (docs/decisions/0013)."""
KEEP_EMPTY_RAYS = 0.05
"""Share of the empty rays that training renders all the same, so that matter can appear where the grid holds none (docs/decisions/0002)."""
MIN_OPACITY_TO_DECODE = 1e-3
"""Lower bound of the opacity that a ray's features are divided by before they are decoded; it keeps the division finite. A fainter ray
changes its pixel by less than a third of one 8-bit level, so an error in its hue cannot be seen."""
RAYS_PER_CHUNK = 16384
"""Rays of a frame that are rendered at once: the widest activation, 64 hidden units at 14 samples a ray, then takes 59 MB."""

Deformation = Callable[[Float[Tensor, "*n 3"]], Float[Tensor, "*n 3"]]
"""Maps points of the head's box to the points at which the head field is evaluated instead."""


class AabbRays(NamedTuple):
    """Rays in the coordinates of the head's box, [-1, 1]^3.

    origins, directions: of the rays. `directions` are no unit vectors: their scale keeps distances along a ray in head units.
    view_directions: unit directions in the head's frame, for the colour.
    """

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    view_directions: Float[Tensor, "rays 3"]

    def take(self, chosen: ChosenRays) -> AabbRays:
        """Returns the rays that are evaluated."""
        return AabbRays(*map(chosen.take, self))


class TalkingHead(nn.Module, TalkingHeadModel):
    """Audio encoder, head field and torso field of one subject. Satisfies TalkingHeadModel.

    The head's condition is [lip code..., right eye, left eye, brows, gaze x, gaze y]; the torso's is the head's standardized pose.
    """

    box_center: Tensor
    box_half: Tensor
    pose_mean: Tensor
    pose_std: Tensor
    torso_region: Tensor
    rays_per_chunk = RAYS_PER_CHUNK
    refines_poses = True

    def __init__(self, config: FieldConfig, march: MarchConfig, geometry: SceneGeometry, streams: Sequence[Stream]):
        """Makes fresh networks; `streams` are the parts of the audio features (see MultiStreamEncoder)."""
        super().__init__()
        self.march = march
        self.geometry = geometry
        self.audio = MultiStreamEncoder(streams, config.lip_code)
        self.head = HeadField(config, geometry.nose, geometry.nose_soft, geometry.mouth, geometry.eyes)
        self.decoder = ColorDecoder(config.ray_features)
        self.torso = TorsoField(config.torso_planes, config.channels)
        self.grid = DensityGrid(march.grid)
        self.register_buffer("box_center", torch.tensor(geometry.box_center))
        self.register_buffer("box_half", torch.tensor(geometry.box_half))
        self.register_buffer("pose_mean", torch.tensor(geometry.pose_mean))
        self.register_buffer("pose_std", torch.tensor(geometry.pose_std))
        self.register_buffer("torso_region", torch.ones(TORSO_REGION_CELLS, TORSO_REGION_CELLS, dtype=torch.bool))

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.box_center.device

    @property
    def lip_code(self) -> int:
        """Number of components of the lip code."""
        return self.audio.lip_code

    def forward(
        self,
        frames: FrameConditions,
        pixels: Float[Tensor, "rays 2"],
        background: Float[Tensor, "rays 3"],
        frame_index: Int[Tensor, " rays"] | None = None,
        pose_noise: Float[Tensor, "frames 6"] | float = 0.0,
    ) -> RenderOutputs:
        """Renders each ray separately, following figure 2 of the paper; render_frame gives whole frames faster.

        Lip code and upper face -> condition -> head field, composited over the background -> torso field, composited over that.

        Args:
            frames: the conditions; their codes come from encode_audio, or from the footage in training.
            pixels: (row, col) of the footage's camera.
            background: colours behind the person, 0..1.
            frame_index: the frame that each ray belongs to. None: there is one frame.
            pose_noise: added to the torso's condition in training.
        """
        if frame_index is None:
            frame_index = torch.zeros(len(pixels), dtype=torch.long, device=pixels.device)
        condition = self.condition(frames.codes, frames.upper_face)
        rays = cast_rays(self.geometry.camera, frames.poses[frame_index], pixels)
        head = self.render_head(rays, condition, frame_index, deform=self.deformation(frames))
        torso_condition = self.torso_condition(frames) + pose_noise
        torso = self.render_torso(pixels, frames.torso_motion[frame_index], torso_condition[frame_index])
        return RenderOutputs(over(torso, over(head, background)), head, torso)

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """Predicts the lip codes of `frames`; see TalkingHeadModel.encode_audio."""
        return self.audio(windows(features, frames))

    @staticmethod
    def condition(
        codes: Float[Tensor, "frames code"], upper_face: Float[Tensor, "frames 5"]
    ) -> Float[Tensor, "frames condition"]:
        """Returns the head's condition: a lip code, and eyes, brows and gaze (Track.upper_face)."""
        return torch.cat([codes, upper_face], -1)

    def torso_condition(self, frames: FrameConditions) -> Float[Tensor, "frames 6"]:
        """Returns the standardized poses that the torso follows."""
        return self.standardized_pose(frames.poses_followed_by_torso)

    def standardized_pose(self, poses: Float[Tensor, "frames 4 4"]) -> Float[Tensor, "frames 6"]:
        """Returns the head's angles and translation (paper, section 3.3), standardized by those of the training frames."""
        return (pose_angles(poses) - self.pose_mean) / self.pose_std

    def world_to_aabb(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Maps points of the head's frame to the coordinates of the head's box, [-1, 1]^3."""
        return (points - self.box_center) / self.box_half

    def rays_to_aabb(self, rays: RayBundle) -> AabbRays:
        """Maps rays of the head's frame to the coordinates of the head's box."""
        return AabbRays(self.world_to_aabb(rays.origins), rays.directions / self.box_half, rays.directions)

    def render_head(
        self,
        rays: RayBundle,
        condition: Float[Tensor, "frames condition"],
        frame_index: Int[Tensor, " rays"] | None = None,
        generator: torch.Generator | None = None,
        deform: Deformation | None = None,
        samples: int | None = None,
    ) -> RayOutput:
        """Renders the head field along rays, with intervals placed by the density grid.

        Args:
            rays: in the head's frame.
            condition: of each frame (see condition).
            frame_index: the frame that each ray belongs to. None: there is one frame.
            generator: for training: intervals are jittered, some empty rays are rendered, and `distortion` is computed.
            deform: maps a point of the box to the point at which the field is evaluated. None: both are the same.
            samples: number of intervals a ray. None: as many as in training.
        """
        aabb_rays, keep_all = self.rays_to_aabb(rays), trains_on_cuda(rays.origins)
        kept, edges = self.sample_intervals(aabb_rays, samples or self.march.samples, deform, generator, keep_all)
        kept_index = None if frame_index is None else kept.take(frame_index)
        head, weights = self.render_intervals(aabb_rays.take(kept), edges, condition, kept_index, deform)
        color, transmittance = kept.put(head.color, 0.0), kept.put(head.transmittance, 1.0)
        if generator is None:
            return RayOutput(color, transmittance)
        return RayOutput(color, transmittance, kept.put(distortion_loss(weights, edges), 0.0))

    @torch.no_grad()
    def sample_intervals(
        self,
        rays: AabbRays,
        samples: int,
        deform: Deformation | None = None,
        generator: torch.Generator | None = None,
        all_evaluated: bool = False,
    ) -> tuple[ChosenRays, Float[Tensor, "evaluated edges"]]:
        """Selects the rays that may meet matter, and divides each into intervals of equal probability.

        Arguments as in render_head and ChosenRays.

        Returns:
            The kept rays, and the `samples` + 1 edges of the intervals (distance from the origin, head units) of those that are evaluated.
        """
        near, far, hits_box = intersect_aabb(rays.origins, rays.directions)
        weights, opacity = self._estimate_weights(rays, near, far, deform)
        is_rendering = generator is None and deform is None
        keep = hits_box & (opacity > (MIN_RAY_OPACITY_RENDER if is_rendering else MIN_RAY_OPACITY_STRICT))
        if generator is not None:
            keep |= hits_box & (torch.rand(len(near), generator=generator, device=near.device) < KEEP_EMPTY_RAYS)
        kept = ChosenRays(keep, all_evaluated)
        jitter = None
        if generator is not None:
            jitter = kept.take(torch.rand(len(near), generator=generator, device=near.device))
        # Distances of rays that miss the box mean nothing; of length zero, their intervals have no density.
        near, far = (kept.take(distance * hits_box) for distance in (near, far))
        return kept, importance_sample_edges(kept.take(weights), near, far, samples, jitter=jitter)

    def _estimate_weights(
        self, rays: AabbRays, near: Tensor, far: Tensor, deform: Deformation | None
    ) -> tuple[Float[Tensor, "rays bins"], Float[Tensor, " rays"]]:
        """Estimates the weights of equal bins along each ray, and the ray's opacity, from the density grid."""
        bins = self.march.lookups
        middle = (torch.arange(bins, device=near.device) + 0.5) / bins
        distances = near[:, None] + middle * (far - near)[:, None]
        if deform is None:
            density = self.grid.query_along_rays(rays.origins, rays.directions, distances)
        else:
            density = self.grid.query(deform(rays.origins[:, None] + distances[..., None] * rays.directions[:, None]))
        delta = self._to_density_units((far - near)[:, None] / bins)
        max_depth = MAX_BIN_OPTICAL_DEPTH if deform is None else MAX_BIN_OPTICAL_DEPTH_NOVEL_VIEW
        optical_depth = (density * delta).clamp(max=max_depth)
        weights, transmittance = weights_from_density(optical_depth, torch.ones_like(density))
        return blur_weights(weights), 1 - transmittance

    def render_intervals(
        self,
        rays: AabbRays,
        edges: Float[Tensor, "rays edges"],
        condition: Float[Tensor, "frames condition"],
        frame_index: Int[Tensor, " rays"] | None = None,
        deform: Deformation | None = None,
    ) -> tuple[RayOutput, Float[Tensor, "rays samples"]]:
        """Renders the head field with the given intervals: one evaluation in the middle of each.

        Features are summed, f = sum_i w_i f_i / sum_i w_i, and decoded once: C = (1 - T) decoder(f, d).

        Args:
            edges: ascending edges of each ray's intervals, distance from the origin in head units.
            rays: all of them are rendered.
            condition, frame_index, deform: as in render_head.

        Returns:
            The head, and the weights w_i of the intervals.
        """
        # Intervals come first and rays last in memory: sums over the intervals of a ray then add long rows, which is fastest.
        edges = edges.T.contiguous()
        samples, count = len(edges) - 1, edges.shape[1]
        middle = (edges[1:] + edges[:-1]) / 2
        axes = zip(rays.origins.T, rays.directions.T, strict=True)
        points = torch.stack([torch.addcmul(start, middle, direction).view(-1) for start, direction in axes]).T
        points = points if deform is None else deform(points)
        index = None if frame_index is None else frame_index.repeat(samples)
        density, features = self.head(points, condition, index)
        delta = self._to_density_units(edges.diff(dim=0))
        weights, transmittance = weights_from_density(density.view(samples, count).T, delta.T)
        summed = (features.view(len(features), samples, count) * weights.T).sum(1).T
        opacity = 1 - transmittance
        mean = summed / opacity.clamp(min=MIN_OPACITY_TO_DECODE)[:, None]
        return RayOutput(opacity[:, None] * self.decoder(mean, rays.view_directions), transmittance), weights

    def _to_density_units(self, lengths: Tensor) -> Tensor:
        """Converts head units to mean half sides of the box, the unit of length of densities."""
        return lengths / self.box_half.mean()

    def render_torso(
        self, pixels: Float[Tensor, "rays 2"], motion: Float[Tensor, "_ 4"], pose: Float[Tensor, "_ 6"]
    ) -> RayOutput:
        """Renders the torso field; pixels outside the torso's region are transparent.

        Args:
            pixels: (row, col) of the footage's camera.
            motion: of the torso (FrameConditions.torso_motion); one for each ray, or a single one.
            pose: standardized pose of the head; likewise.
        """
        camera = self.geometry.camera
        xy = torch.stack([pixels[:, 1] / camera.width, pixels[:, 0] / camera.height], -1) * 2 - 1
        cells = ((xy + 1) / 2 * TORSO_REGION_CELLS).long().clamp_(0, TORSO_REGION_CELLS - 1)
        inside = ChosenRays(self.torso_region[cells[:, 1], cells[:, 0]], trains_on_cuda(pixels))
        motion, pose = (each if len(each) == 1 else inside.take(each) for each in (motion, pose))
        torso = self.torso(inside.take(xy), motion, pose)
        return RayOutput(inside.put(torso.color, 0.0), inside.put(torso.transmittance, 1.0))

    def set_torso_region(self, region: Bool[Tensor, "rows cols"]) -> None:
        """Sets the cells of the image in which the footage ever shows the torso; it is rendered in these only."""
        self.torso_region = region

    def head_density(
        self, points: Float[Tensor, "points 3"], condition: Float[Tensor, " condition"]
    ) -> Float[Tensor, " points"]:
        """Returns the head's density at points of its box under one condition, for the density grid."""
        return self.head(points, condition[None])[0]

    def deformation(self, frame: FrameConditions) -> Deformation | None:
        """Returns the map from a point of the head's box to the point at which the field is evaluated; None if the view is unchanged.

        A deformation belongs to one frame, so in a changed view `frame` must hold a single one.
        """
        if not frame.has_changed_view:
            return None
        (pose,), (torso_pose,) = frame.poses, frame.poses_followed_by_torso
        to_body = torso_pose @ torch.linalg.inv(pose)

        def deform(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
            head_points = points * self.box_half + self.box_center
            return self.world_to_aabb(to_canonical(head_points, to_body, self.geometry.hair)).clamp(-1, 1)

        return deform
