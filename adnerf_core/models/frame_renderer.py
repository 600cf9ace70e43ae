"""Renders whole frames: previews, evaluation and videos all call render_frame.

A model with a density grid is rendered block by block with few samples (FrameRenderer), any other model chunk by chunk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from adnerf_core.cameras.cameras import Camera, RayBundle, cast_rays, project
from adnerf_core.models.base import FrameConditions, TalkingHeadModel
from adnerf_core.models.talking_head import MIN_RAY_OPACITY_STRICT, TalkingHead
from adnerf_core.rendering.proposal_rays import BlockProposals, RenderedPixels, propose_intervals
from adnerf_core.rendering.volume_rendering import RayOutput, intersect_aabb, over

MIN_TORSO_TRANSMITTANCE = 0.01
"""Transmittance of the torso below which the head behind it is not rendered: it would change a pixel by less than 3 of 255 levels."""
BLOCK_PX = 4
"""Side of a block in pixels of the rendered image. The 16 pixels of a block share one proposal ray, so it adds little to the cost of each.
Larger blocks hold an outline more often, and then each pixel has to search for the surface separately (docs/decisions/0017)."""
CPU_CHUNK = 2048
"""Rays that a CPU renders at once: the field's activations at their 12,000 to 20,000 points stay in the cache of a core. With eight times as
many, an evaluation of the field takes twice the time: 420 instead of 190 ns on a Xeon with 2 MB of L2 cache."""
FINE_SCALE, FINE_BLOCK_PX = 0.75, 6
"""If a rendered pixel is smaller than this many of the camera, blocks have another side: more pixels show the same piece of a surface then, so
larger blocks of them hold no more outlines than usual."""
MARGIN_BLOCKS = 4
"""Blocks around the rendered pixels that belong to the part that is divided: a cube of the density grid, seen from the front, is as wide as
two or three blocks, and marks those around its middle."""


class RenderedFrame(NamedTuple):
    """Pixels of a frame.

    color: 0..1, composited over the background.
    transmittance: the share of the background's light that passes the person, 0..1.
    """

    color: Float[Tensor, "pixels 3"]
    transmittance: Float[Tensor, " pixels"]


@torch.no_grad()
def render_frame(
    model: TalkingHeadModel,
    frame: FrameConditions,
    pixels: Float[Tensor, "pixels 2"],
    background: Float[Tensor, "pixels 3"],
) -> RenderedFrame:
    """Renders any set of pixels of one frame, in bounded memory.

    Args:
        model: of the subject.
        frame: conditions of a single frame.
        pixels: positions (row, col) in the image of the footage's camera, px. Shifting or scaling them shifts or scales the image.
        background: colour behind each pixel, 0..1.
    """
    if model.grid is not None:
        return FrameRenderer(model).render(frame, pixels, background)
    color, transmittance = torch.empty_like(background), torch.empty(len(pixels), device=pixels.device)
    for chunk in torch.arange(len(pixels), device=pixels.device).split(model.rays_per_chunk):
        outputs = model(frame, pixels[chunk], background[chunk])
        color[chunk], transmittance[chunk] = outputs.color, outputs.transmittance
    return RenderedFrame(color, transmittance)


@dataclass(frozen=True)
class BlockGrid:
    """A part of a camera's image, divided into square blocks.

    camera: the camera.
    block_px: side of a block, px of the camera.
    first, last: the blocks (row, col) at the corners of the part, both included, counted from the corner of the image.
    """

    camera: Camera
    block_px: float
    first: tuple[int, int]
    last: tuple[int, int]

    @classmethod
    def for_pixels(cls, camera: Camera, pixels: Float[Tensor, "pixels 2"]) -> BlockGrid:
        """Chooses the block size so that a block holds about BLOCK_PX x BLOCK_PX of the rendered `pixels`, and FINE_BLOCK_PX x
        FINE_BLOCK_PX where they are finer than the camera's.

        With larger blocks more pixels would have to search for the surface separately. With smaller ones a block would hold few pixels,
        and its proposal ray would save nothing.
        """
        inside = pixels[_in_image(camera, pixels)]
        if len(inside) == 0:
            return cls(camera, BLOCK_PX, (0, 0), (0, 0))
        cells = (inside / BLOCK_PX).long()
        filled = torch.zeros((cells.amax(0) + 1).tolist(), device=pixels.device)
        filled[cells[:, 0], cells[:, 1]] = 1
        # Each filled block of BLOCK_PX x BLOCK_PX px holds len(inside) / filled.sum() pixels instead of BLOCK_PX^2.
        scale = BLOCK_PX * math.sqrt(float(filled.sum()) / len(inside))
        block_px = FINE_BLOCK_PX * scale if scale < FINE_SCALE else BLOCK_PX * max(1, round(scale))
        ends = torch.tensor([camera.height, camera.width], device=pixels.device)
        first = ((inside.amin(0) / block_px).long() - MARGIN_BLOCKS).clamp(min=0)
        last = torch.minimum((inside.amax(0) / block_px).long() + MARGIN_BLOCKS, (ends / block_px).ceil().long() - 1)
        return cls(camera, block_px, tuple(first.tolist()), tuple(last.tolist()))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return self.last[0] - self.first[0] + 1, self.last[1] - self.first[1] + 1

    @property
    def origin(self) -> Float[Tensor, " 2"]:
        """Corner (row, col) of the first block, px."""
        return torch.tensor(self.first) * float(self.block_px)

    def positions(self, pixels: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels 2"]:
        """Returns places (row, col) in units of blocks; the first block spans 0..1."""
        return (pixels - self.origin.to(pixels)) / self.block_px

    def block_index(self, pixels: Float[Tensor, "pixels 2"]) -> Int[Tensor, " pixels"]:
        """Returns the index of each pixel's block, counted row by row; the pixels must lie in the part."""
        cells = self.positions(pixels).long()
        return cells[:, 0] * self.shape[1] + cells[:, 1]


def _in_image(camera: Camera, pixels: Float[Tensor, "pixels 2"]) -> Bool[Tensor, " pixels"]:
    """Tells which pixels lie in the camera's image."""
    return (pixels >= 0).all(-1) & (pixels[:, 0] < camera.height) & (pixels[:, 1] < camera.width)


class FrameRenderer:
    """Renders frames of a TalkingHead with few samples: proposal rays for blocks of pixels, then the pixels in chunks."""

    def __init__(self, model: TalkingHead):
        self.model = model

    @torch.no_grad()
    def render(
        self, frame: FrameConditions, pixels: Float[Tensor, "pixels 2"], background: Float[Tensor, "pixels 3"]
    ) -> RenderedFrame:
        """Renders `pixels` of one frame (see render_frame).

        The torso is rendered first: where it is opaque, and in blocks that cannot show the head, no head ray is cast.
        """
        model, count = self.model, len(pixels)
        torso = self._render_torso(frame, pixels)

        blocks = BlockGrid.for_pixels(model.geometry.camera, pixels)
        visible = _in_image(blocks.camera, pixels) & (torso.transmittance > MIN_TORSO_TRANSMITTANCE)
        # An invisible pixel may lie outside the image, in no block. Block 0 is a valid index, and `visible` excludes the pixel below.
        block_index = torch.where(visible, blocks.block_index(pixels), 0)
        candidates = self._candidate_blocks(frame, blocks, block_index[visible])
        proposals = self._propose_intervals(frame, blocks, candidates)
        smooth, detailed = (visible & kind.view(-1)[block_index] for kind in (proposals.smooth, proposals.detailed))

        condition, deform = model.condition(frame.codes, frame.upper_face), model.deformation(frame)
        color, transmittance = torch.zeros_like(background), torch.ones(count, device=pixels.device)
        detailed_edges = proposals.detailed_edges.flatten(0, 1)
        for chunk in self._chunks(smooth):
            edges = proposals.interpolate_edges(blocks.positions(pixels[chunk]))
            rays = model.rays_to_aabb(self._cast_rays(frame, pixels[chunk]))
            head, _ = model.render_intervals(rays, edges, condition)  # no `deform`: changed views have no smooth blocks
            color[chunk], transmittance[chunk] = head.color, head.transmittance
        for chunk in self._chunks(detailed):
            rays = self._cast_rays(frame, pixels[chunk])
            if deform is None:
                aabb_rays = model.rays_to_aabb(rays)
                near, far, _ = intersect_aabb(aabb_rays.origins, aabb_rays.directions)
                # The edges span the depth of all blocks; outside the box, where this ray may still or already be, the field is undefined.
                edges = detailed_edges[block_index[chunk]].clamp(near[:, None], torch.maximum(near, far)[:, None])
                head, _ = model.render_intervals(aabb_rays, edges, condition)
            else:
                head = model.render_head(rays, condition, deform=deform, samples=model.march.samples_detailed)
            color[chunk], transmittance[chunk] = head.color, head.transmittance
        head = RayOutput(color, transmittance)
        return RenderedFrame(over(torso, over(head, background)), torso.transmittance * head.transmittance)

    def _render_torso(self, frame: FrameConditions, pixels: Float[Tensor, "pixels 2"]) -> RayOutput:
        """Renders the torso field."""
        condition, parts = self.model.torso_condition(frame), []
        for part in pixels.split(self._chunk_size(pixels)):
            parts.append(
                self.model.render_torso(part, frame.torso_motion.expand(len(part), -1), condition.expand(len(part), -1))
            )
        return RayOutput(torch.cat([part.color for part in parts]), torch.cat([part.transmittance for part in parts]))

    def visible_blocks(self, pose: Float[Tensor, "4 4"], blocks: BlockGrid) -> Bool[Tensor, "rows cols"]:
        """Returns the blocks that may show the head from `pose`: those onto which occupied cells of the density grid project."""
        model, (rows, cols) = self.model, blocks.shape
        cell = 2 / model.march.grid
        # A cube of 2 x 2 x 2 cells counts as occupied if a path twice as long as its side, 4 cells, would have an opacity of
        # MIN_RAY_OPACITY_STRICT at the cube's density.
        cubes = model.grid.occupied_cells(MIN_RAY_OPACITY_STRICT / cell / 4) * model.box_half + model.box_center
        center = blocks.positions(project(blocks.camera, pose, cubes)).long()
        inside = (center >= 0).all(-1) & (center[:, 0] < rows) & (center[:, 1] < cols)
        center = center[inside]
        visible = torch.zeros((rows, cols), device=pose.device)
        visible[center[:, 0], center[:, 1]] = 1
        # Only the centres of the cubes are projected. A cube may be wider than a block, so the blocks within half its width of the
        # centre are marked too, and one more on each side.
        distance = torch.linalg.norm(pose[:3, 3] - model.box_center)
        cube_px = float(2 * cell * model.box_half.max() * blocks.camera.focal / distance)
        reach = 1 + int(cube_px / 2 / blocks.block_px)
        return nn.functional.max_pool2d(visible[None, None], 2 * reach + 1, 1, reach)[0, 0] > 0

    def _candidate_blocks(
        self, frame: FrameConditions, blocks: BlockGrid, block_index: Int[Tensor, " pixels"]
    ) -> Bool[Tensor, "rows cols"]:
        """Returns the blocks that may show the head, if they or a neighbour hold a pixel to render.

        Args:
            frame: conditions of a single frame.
            blocks: of the camera's image.
            block_index: the block of each pixel to render.
        """
        candidates = self.visible_blocks(frame.poses[0], blocks)
        if frame.has_changed_view:  # the neck follows the torso
            candidates = candidates | self.visible_blocks(frame.poses_followed_by_torso[0], blocks)
        mask = torch.zeros_like(candidates).view(-1).index_fill(0, block_index, True).view(blocks.shape)
        return candidates & (nn.functional.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0)

    def _propose_intervals(
        self, frame: FrameConditions, blocks: BlockGrid, candidates: Bool[Tensor, "rows cols"]
    ) -> BlockProposals:
        """Renders the proposal rays of the `candidates`; a changed view has none."""
        if frame.has_changed_view:
            # In a changed view rays graze surfaces, whose depth then changes much from pixel to pixel: few intervals would miss them.
            return BlockProposals.without_proposals(candidates)
        model = self.model
        condition = model.condition(frame.codes, frame.upper_face)
        samples = model.march.samples_smooth, model.march.samples_outline

        def render(pixels: Tensor, edges: Tensor | None = None) -> RenderedPixels:
            rays = model.rays_to_aabb(self._cast_rays(frame, pixels + blocks.origin.to(pixels)))
            kept = torch.arange(len(pixels), device=pixels.device)
            if edges is None:
                kept, edges = model.sample_intervals(rays, model.march.samples_proposal)
            head, weights = model.render_intervals(rays.select(kept), edges, condition)
            return RenderedPixels(kept, edges, weights, torch.cat([head.color, head.transmittance[:, None]], -1))

        return propose_intervals(candidates, blocks.block_px, samples, render)

    def _cast_rays(self, frame: FrameConditions, pixels: Float[Tensor, "pixels 2"]) -> RayBundle:
        return cast_rays(self.model.geometry.camera, frame.poses, pixels)

    def _chunks(self, mask: Bool[Tensor, " pixels"]) -> tuple[Int[Tensor, " chunk"], ...]:
        """Returns the indices of the pixels in `mask`, in chunks that are rendered one at a time."""
        indices = mask.nonzero()[:, 0]
        return indices.split(self._chunk_size(indices)) if len(indices) else ()

    def _chunk_size(self, rays: Tensor) -> int:
        """Returns how many rays are rendered at once on the device of `rays`."""
        return self.model.rays_per_chunk if rays.is_cuda else min(self.model.rays_per_chunk, CPU_CHUNK)
