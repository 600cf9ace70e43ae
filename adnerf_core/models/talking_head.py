"""TalkingHead: the person, as two individual radiance fields driven by sound (AD-NeRF, figure 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adnerf_core.audio.encoder import TwoStreamEncoder
from adnerf_core.audio.windows import windows
from adnerf_core.cameras.cameras import RayBundle, cast_rays, pose_angles, project
from adnerf_core.config import TORSO_REGION_CELLS, FieldConfig, MarchConfig
from adnerf_core.fields.head_field import ColorDecoder, HeadField
from adnerf_core.fields.torso_field import TorsoField
from adnerf_core.models.base import SceneGeometry
from adnerf_core.rendering.density_grid import DensityGrid
from adnerf_core.rendering.head_deformation import to_canonical
from adnerf_core.rendering.proposal_rays import BlockProposals, RenderedPixels, propose_intervals
from adnerf_core.rendering.volume_rendering import (
    RayOutput,
    blur_weights,
    distortion_loss,
    importance_sample_edges,
    intersect_aabb,
    over,
    weights_from_density,
)

MIN_RAY_OPACITY_TRAIN, MIN_RAY_OPACITY_RENDER = 0.02, 0.1
"""Opacity along a whole ray, by the density grid, below which the ray is not marched: in training and in changed views, and in
rendering, where it is known that the grid, which holds the densest that a cell ever was, sees more than there is."""
MIN_TORSO_TRANSMITTANCE = 0.01
"""Transmittance of the torso below which nothing of the head is seen through it."""
MAX_BIN_OPTICAL_DEPTH = 0.7
"""Optical depth of a bin of the ray, by the density grid, at most (see _expect)."""
MAX_BIN_OPTICAL_DEPTH_NOVEL_VIEW = 0.3
"""Likewise in a changed view: rays graze surfaces of which the grid knows less, and cracks would show between them."""
KEEP_EMPTY_RAYS = 0.05
"""Share of the empty rays that training marches all the same, so that matter can appear where none was seen."""
BLOCK_PX = 4
"""Edge of the squares, px, in which a picture is searched for the head before any ray is cast (see block_size)."""


@dataclass(frozen=True)
class FrameConditions:
    """What the person does at some moments: head poses, motion of the torso (x, y, angle, log scale), eyes and brows (see
    Track.upper_face), and either the sound or the true lips.

    `lips` are lip codes measured in footage: training has them, and evaluation uses them to tell the field's faults from
    the sound's. Rendering has only `windows` of audio features.
    """

    poses: Float[Tensor, "moments 4 4"]
    torso: Float[Tensor, "moments 4"]
    upper: Float[Tensor, "moments 2"]
    windows: Float[Tensor, "moments steps width"] | None = None
    lips: Float[Tensor, "moments code"] | None = None


Deformation = Callable[[Float[Tensor, "*n 3"]], Float[Tensor, "*n 3"]]
"""Places of the head's box -> where the head's field is looked up for them."""


class RenderOutputs(NamedTuple):
    """What a set of rays shows: the finished colour (0..1), and the two fields that it is made of."""

    color: Float[Tensor, "rays 3"]
    head: RayOutput
    torso: RayOutput


class TalkingHead(nn.Module):
    """Audio encoders, head field and torso field of one subject.

    The condition of the head is [lip code..., eye openness, brow height]. The torso has the head's pose as its condition.
    """

    box_center: Tensor
    box_half: Tensor
    pose_mean: Tensor
    pose_std: Tensor
    torso_region: Tensor

    def __init__(self, config: FieldConfig, march: MarchConfig, geometry: SceneGeometry, hears: Sequence[int]):
        """`hears`: see TwoStreamEncoder."""
        super().__init__()
        self.march = march
        self.geometry = geometry
        self.audio = TwoStreamEncoder(hears, config.lip_code)
        self.head = HeadField(config, geometry.nose, geometry.nose_soft)
        self.decoder = ColorDecoder(config.ray_features)
        self.torso = TorsoField(config.torso_planes, config.channels)
        self.grid = DensityGrid(march.grid)
        self.register_buffer("box_center", torch.tensor(geometry.box_center))
        self.register_buffer("box_half", torch.tensor(geometry.box_half))
        self.register_buffer("pose_mean", torch.tensor(geometry.pose_mean))
        self.register_buffer("pose_std", torch.tensor(geometry.pose_std))
        self.register_buffer("torso_region", torch.ones(TORSO_REGION_CELLS, TORSO_REGION_CELLS, dtype=torch.bool))

    def forward(
        self,
        moments: FrameConditions,
        moment: Int[Tensor, " rays"],
        pixels: Float[Tensor, "rays 2"],
        background: Float[Tensor, "rays 3"],
        pose_noise: Float[Tensor, "moments 6"] | float = 0.0,
    ) -> RenderOutputs:
        """Sound -> lip code -> the head's field, over the background; the torso's field over that. `moment` says which of
        the moments a ray belongs to; `pose_noise` is added to the torso's condition (training)."""
        code = self.audio(moments.windows) if moments.lips is None else moments.lips
        condition = self.condition(code, moments.upper)
        rays = cast_rays(self.geometry.camera, moments.poses[moment], pixels)
        head = self.render_head(rays, condition, moment)
        torso = self.render_torso(
            pixels, moments.torso[moment], (self.standardized_pose(moments.poses) + pose_noise)[moment]
        )
        return RenderOutputs(over(torso, over(head, background)), head, torso)

    def set_torso_region(self, region: Bool[Tensor, "rows cols"]) -> None:
        """Says in which part of the picture the torso was ever seen; nothing of it is rendered elsewhere."""
        self.torso_region = region

    @property
    def device(self) -> torch.device:
        """Where the portrait's weights are."""
        return self.box_center.device

    @property
    def lip_code(self) -> int:
        """Width of the code, which is one of the lips' shape (see Likeness)."""
        return self.audio.lip_code

    def encode_audio(
        self, features: Float[Tensor, "steps width"], frames: Int[Tensor, " n"]
    ) -> Float[Tensor, "n code"]:
        """See TalkingHeadModel.encode_audio."""
        return self.audio(windows(features, frames))

    @staticmethod
    def condition(
        code: Float[Tensor, "moments code"], upper: Float[Tensor, "moments 2"]
    ) -> Float[Tensor, "moments condition"]:
        """The head's condition from a lip code and what eyes and brows do (Track.upper_face)."""
        return torch.cat([code, upper], -1)

    def standardized_pose(self, poses: Float[Tensor, "moments 4 4"]) -> Float[Tensor, "moments 6"]:
        """The torso's condition: pose_angles, standardised by the training poses."""
        return (pose_angles(poses) - self.pose_mean) / self.pose_std

    def world_to_aabb(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """Head frame -> the head's box, [-1, 1]^3."""
        return (points - self.box_center) / self.box_half

    def render_head(
        self,
        rays: RayBundle,
        condition: Float[Tensor, "moments condition"],
        moment: Int[Tensor, " rays"] | None = None,
        generator: torch.Generator | None = None,
        asked: Deformation | None = None,
        samples: int | None = None,
    ) -> RayOutput:
        """Marches the head field, each ray under the condition of its `moment` (None: there is one).

        A `generator` means training: intervals are jittered and some empty rays kept.
        `asked` says where in its box the field has what belongs to a place (None: there); `samples` is the number of
        intervals a ray (None: as in training).
        """
        chosen, edges = self._cut(rays, samples or self.march.samples, asked, generator)
        moment = None if moment is None else moment[chosen]
        color, left, weights = self._march(rays.of(chosen), edges, condition, moment, asked)
        color = torch.zeros_like(rays.origins).index_copy(0, chosen, color)
        left = torch.ones_like(color[:, 0]).index_copy(0, chosen, left)
        if generator is None:
            return RayOutput(color, left)
        return RayOutput(color, left, torch.zeros_like(left).index_copy(0, chosen, distortion_loss(weights, edges)))

    @torch.no_grad()
    def _cut(
        self, rays: RayBundle, samples: int, asked: Deformation | None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Which rays are worth marching, by the density grid, and the edges of their intervals."""
        origins, directions = self.world_to_aabb(rays.origins), rays.directions / self.box_half
        near, far, meets = intersect_aabb(origins, directions)
        weights, opacity = self._expect(origins, directions, near, far, asked)
        worth = meets & (
            opacity > (MIN_RAY_OPACITY_RENDER if generator is None and asked is None else MIN_RAY_OPACITY_TRAIN)
        )
        if generator is not None:
            worth |= meets & (torch.rand(len(near), generator=generator).to(near.device) < KEEP_EMPTY_RAYS)
        chosen = worth.nonzero()[:, 0]
        jitter = None if generator is None else torch.rand(len(near), generator=generator).to(near.device)[chosen]
        return chosen, importance_sample_edges(weights[chosen], near[chosen], far[chosen], samples, jitter=jitter)

    def _expect(
        self, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, asked: Deformation | None
    ) -> tuple[Tensor, Tensor]:
        """By the cached density grid: where along each ray light is stopped, and how much of it."""
        bins = self.march.lookups
        middle = (torch.arange(bins, device=near.device) + 0.5) / bins
        places = near[:, None] + middle * (far - near)[:, None]
        if asked is None:
            density = self.grid.along(origins, directions, places)
        else:
            density = self.grid.lookup(asked(origins[:, None] + places[..., None] * directions[:, None]))
        delta = self._lengths((far - near)[:, None] / bins)
        # A cell holds the largest density of all its places and conditions, so the surface may lie a little behind it:
        # believe no bin to be opaque, and look before and behind it as well, or the surface is missed and shows speckles.
        thickest = MAX_BIN_OPTICAL_DEPTH if asked is None else MAX_BIN_OPTICAL_DEPTH_NOVEL_VIEW
        weights, left = weights_from_density((density * delta).clamp(max=thickest), torch.ones_like(density))
        return blur_weights(weights), 1 - left

    def _march(
        self, rays: RayBundle, edges: Tensor, condition: Tensor, moment: Tensor | None, asked: Deformation | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(premultiplied colour, transmittance, weights of the samples) along rays cut at `edges`."""
        count, samples = len(edges), edges.shape[1] - 1
        origins, directions = self.world_to_aabb(rays.origins), rays.directions / self.box_half
        middle = (edges[:, 1:] + edges[:, :-1]) / 2
        points = (origins[:, None] + middle[..., None] * directions[:, None]).reshape(-1, 3)
        points = points if asked is None else asked(points)
        density, features = self.head(points, condition, None if moment is None else moment.repeat_interleave(samples))
        weights, left = weights_from_density(density.view(count, samples), self._lengths(edges.diff(dim=-1)))
        summed = (features.view(len(features), count, samples) * weights).sum(-1).T
        opacity = 1 - left
        return (
            opacity[:, None] * self.decoder(summed / opacity.clamp(min=1e-3)[:, None], rays.directions),
            left,
            weights,
        )

    def _lengths(self, spans: Tensor) -> Tensor:
        """Distances in head units -> in (mean) half-edges of the box, the unit of density."""
        return spans / self.box_half.mean()

    def render_torso(
        self, pixels: Float[Tensor, "rays 2"], motion: Float[Tensor, "rays 4"], pose_code: Float[Tensor, "rays 6"]
    ) -> RayOutput:
        """Looks the torso up at `pixels` of the geometry's camera; outside the torso's region it is not there."""
        camera = self.geometry.camera
        places = torch.stack([pixels[:, 1] / camera.width, pixels[:, 0] / camera.height], -1) * 2 - 1
        cells = ((places + 1) / 2 * TORSO_REGION_CELLS).long().clamp_(0, TORSO_REGION_CELLS - 1)
        chosen = self.torso_region[cells[:, 1], cells[:, 0]].nonzero()[:, 0]
        seen = self.torso(places[chosen], motion[chosen], pose_code[chosen])
        color = torch.zeros((len(pixels), 3), device=pixels.device).index_copy(0, chosen, seen.color)
        return RayOutput(color, torch.ones(len(pixels), device=pixels.device).index_copy(0, chosen, seen.transmittance))

    def head_density(
        self, points: Float[Tensor, "points 3"], condition: Float[Tensor, " condition"]
    ) -> Float[Tensor, " points"]:
        """The head's density at points of its box, under one condition."""
        return self.head(points, condition[None])[0]

    def block_size(self, pixels: Float[Tensor, "pixels 2"]) -> int:
        """Edge, px of the camera, of squares that hold about BLOCK_PX x BLOCK_PX of neighbouring `pixels`, or more: where a picture has
        fewer pixels than the footage's camera, blocks are larger, or there would be a scout for every few of them."""
        inside = pixels[self._inside(pixels)]
        if len(inside) == 0:
            return BLOCK_PX
        cells = (inside / BLOCK_PX).long()
        filled = torch.zeros(self._blocks(BLOCK_PX), device=pixels.device)
        filled[cells[:, 0], cells[:, 1]] = 1
        return BLOCK_PX * max(1, round(BLOCK_PX * math.sqrt(float(filled.sum()) / len(inside))))

    def _blocks(self, edge: int) -> tuple[int, int]:
        """Rows and columns of blocks in the camera's picture."""
        camera = self.geometry.camera
        return -(-camera.height // edge), -(-camera.width // edge)

    def _inside(self, pixels: Float[Tensor, "pixels 2"]) -> Bool[Tensor, " pixels"]:
        """Which places lie in the camera's picture."""
        camera = self.geometry.camera
        return (pixels >= 0).all(-1) & (pixels[:, 0] < camera.height) & (pixels[:, 1] < camera.width)

    def visible_blocks(self, pose: Float[Tensor, "4 4"], edge: int = BLOCK_PX) -> Bool[Tensor, "rows cols"]:
        """Which squares of `edge` px of the picture the head may be seen in from `pose`, by the density grid."""
        camera = self.geometry.camera
        rows, cols = self._blocks(edge)
        cell = 2 / self.march.grid
        points = self.grid.occupied(MIN_RAY_OPACITY_TRAIN / cell / 4) * self.box_half + self.box_center
        blocks = torch.zeros((rows, cols), device=pose.device)
        place = (project(camera, pose, points) / edge).long()
        inside = (place >= 0).all(-1) & (place[:, 0] < rows) & (place[:, 1] < cols)
        place = place[inside]
        blocks[place[:, 0], place[:, 1]] = 1
        # A centre stands for its cube, which may be wider than a block: spread it that far, and by one block more.
        cube = float(2 * cell * self.box_half.max() * camera.focal / torch.linalg.norm(pose[:3, 3] - self.box_center))
        reach = 1 + int(cube / 2 / edge)
        return nn.functional.max_pool2d(blocks[None, None], 2 * reach + 1, 1, reach)[0, 0] > 0

    def head_on_body_deformation(self, pose: Float[Tensor, "4 4"], torso_pose: Float[Tensor, "4 4"]) -> Deformation:
        """Where the field is asked when the head at `pose` sits on a body that belongs to a head at `torso_pose`."""
        to_body = torso_pose @ torch.linalg.inv(pose)

        def asked(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
            places = points * self.box_half + self.box_center
            return self.world_to_aabb(to_canonical(places, to_body, self.geometry.hair)).clamp(-1, 1)

        return asked

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
        chunk: int = 16384,
    ) -> tuple[Float[Tensor, "pixels 3"], Float[Tensor, " pixels"]]:
        """See TalkingHeadModel.render_pixels. Rays that cannot meet the head, or meet the torso first, are not cast into the head's field."""
        code = self.standardized_pose((pose if torso_pose is None else torso_pose)[None])
        body = self.render_torso(pixels, torso.expand(len(pixels), -1), code.expand(len(pixels), -1))
        edge = self.block_size(pixels)
        blocks, asked = self.visible_blocks(pose, edge), None
        if torso_pose is not None:
            blocks, asked = (
                blocks | self.visible_blocks(torso_pose, edge),
                self.head_on_body_deformation(pose, torso_pose),
            )
        visible = self._inside(pixels) & (body.transmittance > MIN_TORSO_TRANSMITTANCE)
        place = (pixels / edge).long()
        block = torch.where(visible, place[:, 0] * blocks.shape[1] + place[:, 1], 0)
        wanted = torch.zeros_like(blocks).view(-1).index_fill(0, block[visible], True).view(blocks.shape)
        near = blocks & (nn.functional.max_pool2d(wanted[None, None].float(), 3, 1, 1)[0, 0] > 0)
        # Seen from aside, the surface lies at other depths a pixel further on: few intervals would fall behind it.
        aside = asked is not None
        found = BlockProposals.hard_only(near, self.march.few) if aside else self._scout(pose, condition, near, edge)
        color, left = torch.zeros_like(background), torch.ones(len(pixels), device=pixels.device)
        for kind, simple in ((found.simple, True), (found.hard, False)):
            these = (visible & kind.view(-1)[block]).nonzero()[:, 0]
            for part in these.split(chunk):
                rays = cast_rays(self.geometry.camera, pose.expand(len(part), 4, 4), pixels[part])
                if simple:
                    edges = found.cuts(pixels[part] / edge)
                    color[part], left[part], _ = self._march(rays, edges, condition[None], None, asked)
                else:
                    head = self.render_head(rays, condition[None], asked=asked, samples=self.march.careful)
                    color[part], left[part] = head.color, head.transmittance
        return over(body, over(RayOutput(color, left), background)), body.transmittance * left

    def _scout(
        self,
        pose: Float[Tensor, "4 4"],
        condition: Float[Tensor, " condition"],
        blocks: Bool[Tensor, "rows cols"],
        edge: int,
    ) -> BlockProposals:
        """Sends the scouts of a frame, to blocks of `edge` px."""

        def look(pixels: Tensor, edges: Tensor | None = None) -> RenderedPixels:
            rays = cast_rays(self.geometry.camera, pose.expand(len(pixels), 4, 4), pixels)
            chosen = torch.arange(len(pixels), device=pixels.device)
            if edges is None:
                chosen, edges = self._cut(rays, self.march.scout, None)
            color, left, weights = self._march(rays.of(chosen), edges, condition[None], None, None)
            return RenderedPixels(chosen, edges, weights, torch.cat([color, left[:, None]], -1))

        return propose_intervals(blocks, edge, self.march.few, look)
