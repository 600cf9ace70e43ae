"""Renders whole frames: previews, evaluation and videos all call render_frame.

A model with a density grid is rendered block by block with few samples (FrameRenderer), any other model chunk by chunk.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adnerf_core.cameras.cameras import Camera, RayBundle, cast_rays, project
from adnerf_core.models.base import FrameConditions, TalkingHeadModel
from adnerf_core.models.talking_head import MIN_RAY_OPACITY_STRICT, TalkingHead
from adnerf_core.rendering.dilation import dilate
from adnerf_core.rendering.proposal_rays import BlockProposals, SearchedRays, propose_intervals
from adnerf_core.rendering.volume_rendering import RayOutput, intersect_aabb, over

MIN_TORSO_TRANSMITTANCE = 0.01
"""Transmittance of the torso below which the head behind it is not rendered: it would change a pixel by less than 3 of 255 levels."""
BLOCK_PX = 4
"""Side of a block, px of the rendered image, or of the footage's camera where its pixels are larger. The 16 pixels of a block share one
proposal ray, so it adds little to the cost of each."""
CPU_CHUNK = 16384
"""Points at which a CPU evaluates the field at once: its activations stay in the cache of a core. With eight times as many, an evaluation
takes twice the time: 420 instead of 190 ns on a Xeon with 2 MB of L2 cache."""
TORSO_COST = 4
"""Points of the head field that take as much memory as one of the torso field."""
MARGIN_BLOCKS = 4
"""Width, in blocks, of the margin around the rendered pixels that is divided into blocks with them: a cube of the density grid, seen from the
front, is as wide as two or three blocks, and marks those around its middle."""


class RenderedFrame(NamedTuple):
    """Pixels of a frame.

    color: 0..1, composited over the background.
    transmittance: the share of the background's light that passes the person, 0..1.
    """

    color: Float[Tensor, "pixels 3"]
    transmittance: Float[Tensor, " pixels"]


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
    return frame_renderer(model, frame, pixels)(pixels, background)


def frame_renderer(
    model: TalkingHeadModel, frame: FrameConditions, pixels: Float[Tensor, "pixels 2"], spacing: int = 1
) -> Callable[[Float[Tensor, "part 2"], Float[Tensor, "part 3"]], RenderedFrame]:
    """Returns a function that renders any of an image's pixels, as often as it is called, like render_frame.

    Args:
        model, frame: as in render_frame.
        pixels: positions (row, col) that stand for those that will be rendered: every `spacing`-th of every `spacing`-th row. Their
            distance is at most BLOCK_PX pixels of the camera.
        spacing: 1 if `pixels` are all that will be rendered.
    """
    if model.grid is None:
        return partial(_render_all, model, frame)
    return FrameRenderer(model, frame, pixels, spacing).render


@torch.inference_mode()
def _render_all(
    model: TalkingHeadModel,
    frame: FrameConditions,
    pixels: Float[Tensor, "pixels 2"],
    background: Float[Tensor, "pixels 3"],
) -> RenderedFrame:
    """Renders every pixel as in training, chunk by chunk."""
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
    block_px: int
    first: tuple[int, int]
    last: tuple[int, int]

    @classmethod
    def for_pixels(cls, camera: Camera, pixels: Float[Tensor, "pixels 2"], spacing: int = 1) -> BlockGrid:
        """Chooses the block size so that a block holds about BLOCK_PX x BLOCK_PX of the rendered pixels, and more where they are finer than
        the camera's.

        With smaller blocks a block would hold few pixels, and its proposal ray would save nothing. The arguments are those of
        frame_renderer.
        """
        inside = pixels[_in_image(camera, pixels)]
        if len(inside) == 0:
            return cls(camera, BLOCK_PX, (0, 0), (0, 0))
        cells = (inside / BLOCK_PX).long()
        filled = torch.zeros((camera.height // BLOCK_PX + 1, camera.width // BLOCK_PX + 1), device=pixels.device)
        filled[cells[:, 0], cells[:, 1]] = 1
        # Each filled block of BLOCK_PX x BLOCK_PX px holds len(inside) / filled.sum() pixels instead of BLOCK_PX^2.
        scale = BLOCK_PX * math.sqrt(float(filled.sum()) / len(inside)) / spacing
        block_px = BLOCK_PX * max(1, round(scale))
        ends = (camera.height, camera.width)
        # One copy, for which the host waits.
        low, high = (torch.stack(inside.aminmax(dim=0)) / block_px).long().tolist()
        first = tuple(max(0, block - MARGIN_BLOCKS) for block in low)
        last = tuple(
            min(block + MARGIN_BLOCKS, math.ceil(end / block_px) - 1) for block, end in zip(high, ends, strict=True)
        )
        return cls(camera, block_px, first, last)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return self.last[0] - self.first[0] + 1, self.last[1] - self.first[1] + 1

    @property
    def origin(self) -> Float[Tensor, " 2"]:
        """Corner (row, col) of the first block, px."""
        return torch.tensor(self.first, dtype=torch.float32) * self.block_px

    def positions(self, pixels: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels 2"]:
        """Returns places (row, col) in units of blocks; the first block spans 0..1."""
        return (pixels - self.origin.to(pixels.device, non_blocking=True)) / self.block_px

    def block_index(self, pixels: Float[Tensor, "pixels 2"]) -> Int[Tensor, " pixels"]:
        """Returns the index of each pixel's block, counted row by row; the pixels must lie in the part."""
        cells = self.positions(pixels).long()
        return cells[:, 0] * self.shape[1] + cells[:, 1]


def _in_image(camera: Camera, pixels: Float[Tensor, "pixels 2"]) -> Bool[Tensor, " pixels"]:
    """Tells which pixels lie in the camera's image."""
    return (pixels >= 0).all(-1) & (pixels[:, 0] < camera.height) & (pixels[:, 1] < camera.width)


def visible_blocks(model: TalkingHead, pose: Float[Tensor, "4 4"], blocks: BlockGrid) -> Bool[Tensor, "rows cols"]:
    """Returns the blocks that may show the head from `pose`: those onto which occupied cells of the density grid project."""
    rows, cols = blocks.shape
    cell = 2 / model.march.grid
    # A cube of 2 x 2 x 2 cells counts as occupied if a path twice as long as its side, 4 cells, would have an opacity of
    # MIN_RAY_OPACITY_STRICT at the cube's density.
    cubes = model.grid.occupied_cells(MIN_RAY_OPACITY_STRICT / cell / 4) * model.box_half + model.box_center
    center = blocks.positions(project(blocks.camera, pose, cubes)).long()
    inside = (center >= 0).all(-1) & (center[:, 0] < rows) & (center[:, 1] < cols)
    center = center[inside]
    visible = torch.zeros((rows, cols), dtype=torch.bool, device=pose.device)
    visible[center[:, 0], center[:, 1]] = True
    # Only the centres of the cubes are projected. A cube may be wider than a block, so the blocks within half its width of the
    # centre are marked too, and one more on each side.
    distance = torch.linalg.norm(pose[:3, 3] - model.box_center)
    cube_px = float(2 * cell * model.box_half.max() * blocks.camera.focal / distance)
    return dilate(visible, 1 + int(cube_px / 2 / blocks.block_px))


class FrameRenderer:
    """Renders pixels of one frame of a TalkingHead with few samples: proposal rays for blocks of pixels, then the pixels in chunks."""

    @torch.inference_mode()
    def __init__(self, model: TalkingHead, frame: FrameConditions, pixels: Float[Tensor, "pixels 2"], spacing: int):
        """Renders the proposal rays of all blocks that hold some of `pixels`; the arguments are those of frame_renderer."""
        self.model, self.frame = model, frame
        self.condition, self.deform = model.condition(frame.codes, frame.upper_face), model.deformation(frame)
        self.blocks = BlockGrid.for_pixels(model.geometry.camera, pixels, spacing)
        self.proposals = self._propose_intervals(self._candidate_blocks(pixels))

    @torch.inference_mode()
    def render(self, pixels: Float[Tensor, "pixels 2"], background: Float[Tensor, "pixels 3"]) -> RenderedFrame:
        """Renders `pixels`, which lie in the blocks of __init__ (see render_frame).

        The torso is rendered first: where it is opaque, and in blocks that cannot show the head, no head ray is cast.
        """
        torso = self._render_torso(pixels)
        visible = _in_image(self.blocks.camera, pixels) & (torso.transmittance > MIN_TORSO_TRANSMITTANCE)
        # An invisible pixel may lie outside the image, in no block. Block 0 is a valid index, and `visible` excludes the pixel below.
        block_index = torch.where(visible, self.blocks.block_index(pixels), 0)
        shows_head = (visible & self.proposals.shown.view(-1)[block_index]).nonzero()[:, 0]
        color, transmittance = torch.zeros_like(background), torch.ones(len(pixels), device=pixels.device)
        size = self._chunk_size(pixels, self.model.march.samples_pixel)
        for chunk in shows_head.split(size) if len(shows_head) else ():
            head = self._render_head(pixels[chunk])
            color[chunk], transmittance[chunk] = head.color, head.transmittance
        head = RayOutput(color, transmittance)
        return RenderedFrame(over(torso, over(head, background)), torso.transmittance * head.transmittance)

    def _render_head(self, pixels: Float[Tensor, "pixels 2"]) -> RayOutput:
        """Renders the head at pixels of blocks that show it."""
        model, rays = self.model, self._cast_rays(pixels)
        if self.deform is not None:
            return model.render_head(rays, self.condition, deform=self.deform, samples=model.march.samples_detailed)
        aabb_rays = model.rays_to_aabb(rays)
        near, far, _ = intersect_aabb(aabb_rays.origins, aabb_rays.directions)
        # The edges span the depth of all blocks; outside the box, where this ray may still or already be, the field is undefined.
        edges = self.proposals.interpolate_edges(self.blocks.positions(pixels))
        edges = edges.clamp(near[:, None], torch.maximum(near, far)[:, None])
        return model.render_intervals(aabb_rays, edges, self.condition)[0]

    def _render_torso(self, pixels: Float[Tensor, "pixels 2"]) -> RayOutput:
        """Renders the torso field."""
        pose = self.model.torso_condition(self.frame)
        parts = pixels.split(self._chunk_size(pixels, TORSO_COST))
        outputs = [self.model.render_torso(part, self.frame.torso_motion, pose) for part in parts]
        return RayOutput(
            torch.cat([each.color for each in outputs]), torch.cat([each.transmittance for each in outputs])
        )

    def _candidate_blocks(self, pixels: Float[Tensor, "pixels 2"]) -> Bool[Tensor, "rows cols"]:
        """Returns the blocks that may show the head, if they or a neighbour hold some of `pixels` that the torso does not hide."""
        model, frame, blocks = self.model, self.frame, self.blocks
        candidates = visible_blocks(model, frame.poses[0], blocks)
        if frame.has_changed_view:  # the neck follows the torso
            candidates = candidates | visible_blocks(model, frame.poses_followed_by_torso[0], blocks)
        needed = torch.zeros_like(candidates)
        needed.view(-1)[blocks.block_index(pixels[_in_image(blocks.camera, pixels)])] = True
        places = (needed & candidates).nonzero()
        origin = blocks.origin.to(pixels.device, non_blocking=True)
        torso = self._render_torso((places + 0.5) * blocks.block_px + origin)
        hidden = places[torso.transmittance <= MIN_TORSO_TRANSMITTANCE]
        # A pixel of a block whose middle is hidden may be visible, but not if the middles around it are hidden too.
        needed[hidden[:, 0], hidden[:, 1]] = False
        return candidates & dilate(needed, 1)

    def _propose_intervals(self, candidates: Bool[Tensor, "rows cols"]) -> BlockProposals:
        """Renders the proposal rays of the `candidates`; a changed view has none."""
        if self.frame.has_changed_view:
            # In a changed view rays graze surfaces, whose depth then changes much from pixel to pixel: few intervals would miss them.
            return BlockProposals(candidates, torch.zeros((*candidates.shape, 1), device=candidates.device))
        model, origin = self.model, self.blocks.origin.to(self.frame.poses, non_blocking=True)

        def search(pixels: Float[Tensor, "pixels 2"]) -> SearchedRays:
            rays = model.rays_to_aabb(self._cast_rays(pixels + origin))
            kept, edges = model.sample_intervals(rays, model.march.samples_proposal)
            weights = model.render_intervals(rays.take(kept), edges, self.condition)[1]
            return SearchedRays(kept.indices, edges, weights)

        return propose_intervals(candidates, self.blocks.block_px, model.march.samples_pixel, search)

    def _cast_rays(self, pixels: Float[Tensor, "pixels 2"]) -> RayBundle:
        return cast_rays(self.model.geometry.camera, self.frame.poses, pixels)

    def _chunk_size(self, rays: Tensor, samples: int = 1) -> int:
        """Returns how many rays are rendered at once on the device of `rays`."""
        return self.model.rays_per_chunk if rays.is_cuda else min(self.model.rays_per_chunk, CPU_CHUNK // samples)
