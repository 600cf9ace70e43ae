"""Proposal rays: one ray for each block of pixels finds the surface, and the block's pixels sample only there.

A pixel's ray normally searches the whole depth of the head: 48 look-ups in the density grid and 12 to 14 evaluations of the field.
Neighbouring pixels mostly see the same surface, so a frame is rendered block by block (4 x 4 pixels) instead:

1. The proposal ray through the middle of each block searches the whole depth and is rendered with 8 intervals. Its weights show at which
   depths the block has matter.
2. Every block combines its weights with those of its eight neighbours and divides the depth into a few intervals (8) around them.
3. A block is *smooth* if all nine rays are opaque and the intervals lie close together. All other blocks that show something are
   *detailed*: outlines, loose hair, the depth of an open mouth.
4. Each smooth block's middle is rendered again with the few intervals. If the result differs from step 1, the block and its neighbours
   become detailed: a thin surface can fall between the intervals, above all in small images, where a block spans much of the face.

A pixel of a smooth block interpolates the interval edges of the four nearest proposal rays and needs no grid. A pixel of a detailed block
searches the whole depth. A smooth pixel costs 9 evaluations and no look-up: 8 of its own, and 1 as its share of the block's two rays,
(8 + 8) / 16. A frame of 256 px costs 4.0 evaluations a pixel on average, since the average includes background and torso. In training, each
ray that meets the head costs 12. Proposal rays halve the time of a frame (docs/fidelity.md, docs/decisions/0002, 0017).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adnerf_core.rendering.ray_samplers import importance_sample_edges, resample_weights

BINS = 96
"""Bins in depth, common to all proposal rays, in which their weights are compared. The head's box is about 3 head units deep, so a bin is
about 0.03 units, a quarter of the longest inner intervals that a smooth block has (see MAX_DEPTH_SPREAD)."""
MIN_OPACITY = 0.9
"""Least opacity of all nine rays of a smooth block. A ray that passes more light crosses an outline or loose hair, where pixels of one block
see surfaces at different depths. Unmeasured."""
MAX_DEPTH_SPREAD = 0.8
"""Largest distance, head units, between the first and last inner interval edge of a smooth block: six intervals (of eight) lie between
them, so they are 0.13 units long at most on average. Longer ones would step over thin surfaces. Unmeasured."""
COLOR_TOLERANCE = 0.03
"""Largest difference of colour and transmittance, 0..1, between the two renderings of a block's middle (step 4), for a smooth block and for
its neighbours. Without this test, faces 47 px wide had gaps: their PSNR against a rendering with 32 intervals a ray was 31 dB, and with the
test it was 40 dB (docs/decisions/0017)."""
MIN_BLOCK_OPACITY = 0.01
"""Opacity of the combined weights from which a block is rendered at all; below it the head changes a pixel by less than 3 of 255 levels."""
SELF_WEIGHT = 0.6
"""Share of a block's own weights in the combination; the rest is the maximum over the nine blocks. With a larger share, the intervals
concentrate on the block's own surface, and its image is sharper. With a smaller one, they also cover the neighbours' surfaces, so fewer
surfaces that begin inside the block are missed. Unmeasured."""
UNIFORM_SHARE = 0.05
"""Share of a block's intervals that is spread evenly in depth (see importance_sample_edges). Half of what a single ray uses: the
surface's depth is known from nine rays. Unmeasured."""


class RenderedPixels(NamedTuple):
    """Rays through some pixels, rendered.

    kept: indices of the pixels whose rays may meet the head. The other fields hold values for these rays only.
    edges: edges of the rays' intervals, distance from the camera in head units.
    weights: volume rendering weights of the intervals.
    appearance: premultiplied colour, and transmittance.
    """

    kept: Int[Tensor, " rays"]
    edges: Float[Tensor, "rays edges"]
    weights: Float[Tensor, "rays samples"]
    appearance: Float[Tensor, "rays 4"]


@runtime_checkable
class RenderFn(Protocol):
    """Renders the head along the rays through some pixels."""

    def __call__(
        self, pixels: Float[Tensor, "pixels 2"], edges: Float[Tensor, "pixels edges"] | None = None
    ) -> RenderedPixels:
        """Renders `pixels` (row, col).

        Args:
            pixels: positions in the camera's image, px.
            edges: interval edges of each ray; then all rays are rendered. None: each ray searches the whole depth, and rays that
                cannot meet the head are left out.
        """


class BlockProposals(NamedTuple):
    """How the blocks of a frame are rendered. A block that is neither smooth nor detailed shows no head.

    smooth: blocks whose pixels use interpolated interval edges.
    detailed: blocks whose pixels search the whole depth for their intervals.
    interval_edges: of the ray through each block's middle; pixels of smooth blocks use them, and zeros mean that there are none.
    """

    smooth: Bool[Tensor, "rows cols"]
    detailed: Bool[Tensor, "rows cols"]
    interval_edges: Float[Tensor, "rows cols edges"]

    @classmethod
    def without_proposals(cls, blocks: Bool[Tensor, "rows cols"]) -> BlockProposals:
        """Makes all of `blocks` detailed."""
        return cls(torch.zeros_like(blocks), blocks, torch.zeros((*blocks.shape, 1), device=blocks.device))

    def interpolate_edges(self, positions: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels edges"]:
        """Interpolates interval edges bilinearly between the four nearest block middles.

        When all pixels of a block had equal edges, the borders of the blocks showed on the moving head, and the rendered head had more
        jitter than the footage (docs/decisions/0017).

        Args:
            positions: (row, col) in units of blocks; block (0, 0) spans 0..1.
        """
        rows, cols, _ = self.interval_edges.shape
        grid = positions.flip(-1) / positions.new_tensor([cols, rows]) * 2 - 1
        edges = self.interval_edges.permute(2, 0, 1)[None]
        return F.grid_sample(edges, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def propose_intervals(
    candidates: Bool[Tensor, "rows cols"], block_px: float, samples: int, render: RenderFn
) -> BlockProposals:
    """Renders one ray a block and proposes intervals for the block's pixels (steps 1 to 4 of the module's docstring).

    Args:
        candidates: blocks that may show the head.
        block_px: side of a block, px.
        samples: number of intervals a ray in smooth blocks.
        render: renders the head along rays.
    """
    shape = candidates.shape
    edges = torch.zeros((*shape, samples + 1), device=candidates.device)
    nothing = BlockProposals(torch.zeros_like(candidates), torch.zeros_like(candidates), edges)
    blocks = candidates.nonzero()
    middles = render((blocks + 0.5) * block_px)
    if len(middles.kept) == 0:
        return nothing
    blocks = blocks[middles.kept]

    near, far = middles.edges[:, 0].min(), middles.edges[:, -1].max()
    weights = _scatter_to_blocks(blocks, resample_weights(middles.edges, middles.weights, near, far, BINS), shape)
    combined = torch.lerp(_max_over_neighbours(weights), weights, SELF_WEIGHT)
    shown = combined.sum(-1) > MIN_BLOCK_OPACITY
    if not shown.any():
        return nothing
    edges[shown] = _edges_around(combined[shown], near, far, samples)

    min_opacity = -_max_over_neighbours(-weights.sum(-1, keepdim=True))[..., 0]
    smooth = shown & (min_opacity > MIN_OPACITY) & (edges[..., -2] - edges[..., 1] < MAX_DEPTH_SPREAD)
    appearance = _scatter_to_blocks(blocks, middles.appearance, shape)
    smooth = smooth & _few_intervals_suffice(smooth, appearance, edges, block_px, render)
    return BlockProposals(smooth, shown & ~smooth, edges)


def _edges_around(
    weights: Float[Tensor, "blocks bins"], near: Float[Tensor, ""], far: Float[Tensor, ""], samples: int
) -> Float[Tensor, "blocks edges"]:
    """Divides the depth into intervals that concentrate on `weights` and on the bins next to them."""
    weights = F.max_pool1d(weights[:, None], 3, 1, 1)[:, 0]
    count = len(weights)
    return importance_sample_edges(weights, near.expand(count), far.expand(count), samples, UNIFORM_SHARE)


def _few_intervals_suffice(
    smooth: Bool[Tensor, "rows cols"],
    appearance: Float[Tensor, "rows cols 4"],
    edges: Float[Tensor, "rows cols edges"],
    block_px: float,
    render: RenderFn,
) -> Bool[Tensor, "rows cols"]:
    """Renders the middles of smooth blocks with the intervals of `edges`, and compares them with `appearance`, the result of the search.

    Returns:
        Whether the difference is below COLOR_TOLERANCE in the block and its neighbours; blocks that are not smooth count as equal.
    """
    middles = render((smooth.nonzero() + 0.5) * block_px, edges[smooth]).appearance
    difference = torch.zeros(smooth.shape, device=smooth.device)
    difference[smooth] = (middles - appearance[smooth]).abs().amax(-1)
    return _max_over_neighbours(difference[..., None])[..., 0] < COLOR_TOLERANCE


def _scatter_to_blocks(
    blocks: Int[Tensor, "blocks 2"], values: Float[Tensor, "blocks n"], shape: tuple[int, ...]
) -> Float[Tensor, "rows cols n"]:
    """Returns an array of all blocks that holds `values` at `blocks` (row, col) and zeros elsewhere."""
    grid = torch.zeros((*shape, values.shape[1]), device=values.device)
    grid[blocks[:, 0], blocks[:, 1]] = values
    return grid


def _max_over_neighbours(values: Float[Tensor, "rows cols n"]) -> Float[Tensor, "rows cols n"]:
    """Returns the maximum over each block and its eight neighbours; at the border, over those that exist."""
    return F.max_pool2d(values.permute(2, 0, 1)[None], 3, 1, 1)[0].permute(1, 2, 0)
