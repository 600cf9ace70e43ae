"""Proposal rays: one ray for each block of pixels finds the surface, and the block's pixels sample only there.

A pixel's ray normally searches the whole depth of the head: 48 look-ups in the density grid and 12 to 14 evaluations of the field.
Neighbouring pixels mostly see the same surface, so a frame is rendered block by block (4 x 4 pixels) instead:

1. The proposal ray through the middle of each block is rendered with a search of its own (8 intervals). Its weights say at which depths
   the block has matter.
2. Every block combines its weights with those of its eight neighbours and divides the depth into a few intervals (8) around them.
3. A block is *smooth* if all nine rays are opaque and the intervals lie close together. All other blocks that show something are *edge*
   blocks: outlines, loose hair, the depth of an open mouth.
4. Each smooth block's middle is rendered again with the few intervals. Where this differs from step 1, the block and its neighbours become
   edge blocks: a thin surface can fall between the intervals, above all in small images, where a block spans much of the face.

Pixels of smooth blocks interpolate the interval edges of the four nearest proposal rays and need no grid at all; pixels of edge
blocks search for themselves. Cost: a smooth pixel takes 8 evaluations and its share of the two rays of its block, (8 + 8) / 16 = 1, so 9
without any look-up. A frame of 256 px takes 4.0 evaluations a pixel, averaged over the whole image with background and torso, where each
ray that meets the head takes 12 in training; proposals halve the time of a frame (docs/fidelity.md, docs/decisions/0002, 0017).
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
"""Largest difference of colour and transmittance, 0..1, between the two renderings of a smooth block's middle and its neighbours' (step 4).
Without this test faces 47 px wide came out torn: 31 dB against 32 intervals a ray, and 40 dB with it (docs/decisions/0017)."""
MIN_BLOCK_OPACITY = 0.01
"""Opacity of the combined weights from which a block is rendered at all; below it the head changes a pixel by less than 3 of 255 levels."""
SELF_WEIGHT = 0.6
"""Share of a block's own weights in the combination, against the maximum over the nine blocks. With more, intervals are concentrated on the
block's own surface and its image is sharper; with less, they cover more of its neighbours', and fewer edges of surfaces are missed.
Unmeasured."""
UNIFORM_SHARE = 0.05
"""Share of a block's intervals that is spread evenly in depth (see importance_sample_edges). Half of what a single ray uses: the
surface's depth is known from nine rays. Unmeasured."""


class RenderedPixels(NamedTuple):
    """Rays through some pixels, rendered.

    kept: indices of the pixels whose rays may meet the head; the other fields hold these only.
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
            pixels: places in the camera's image.
            edges: interval edges of each ray; all rays are rendered then. None: each ray searches for its own intervals.
        """


class BlockProposals(NamedTuple):
    """How the blocks of a frame are rendered; a block that is neither smooth nor edge shows no head.

    smooth: blocks whose pixels use interpolated interval edges.
    edge: blocks whose pixels search for their own intervals.
    interval_edges: of each block's middle; only those of smooth blocks are used.
    """

    smooth: Bool[Tensor, "rows cols"]
    edge: Bool[Tensor, "rows cols"]
    interval_edges: Float[Tensor, "rows cols edges"]

    @classmethod
    def without_proposals(cls, blocks: Bool[Tensor, "rows cols"]) -> BlockProposals:
        """Makes all of `blocks` edge blocks."""
        return cls(torch.zeros_like(blocks), blocks, torch.zeros((*blocks.shape, 1), device=blocks.device))

    def interpolate_edges(self, positions: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels edges"]:
        """Interpolates interval edges bilinearly between the four nearest block middles.

        With equal edges for all pixels of a block, blocks became visible as they passed over the moving head, and the image trembled
        more than the footage does (docs/decisions/0017).

        Args:
            positions: (row, col) in units of blocks; block (0, 0) spans 0..1.
        """
        rows, cols, _ = self.interval_edges.shape
        grid = positions.flip(-1) / positions.new_tensor([cols, rows]) * 2 - 1
        edges = self.interval_edges.permute(2, 0, 1)[None]
        return F.grid_sample(edges, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def propose_intervals(
    candidates: Bool[Tensor, "rows cols"], block_px: int, samples: int, render: RenderFn
) -> BlockProposals:
    """Renders one ray a block and proposes intervals for the block's pixels (steps 1 to 4 of the module's docstring).

    Args:
        candidates: blocks that may show the head.
        block_px: edge of a block, px.
        samples: number of intervals a ray in smooth blocks.
        render: renders rays with intervals of their own, or with given ones.
    """
    shape = candidates.shape
    edges = torch.zeros((*shape, samples + 1), device=candidates.device)
    nothing = BlockProposals(torch.zeros_like(candidates), torch.zeros_like(candidates), edges)
    blocks = candidates.nonzero()
    probes = render((blocks + 0.5) * block_px)
    if len(probes.kept) == 0:
        return nothing
    blocks = blocks[probes.kept]

    near, far = probes.edges[:, 0].min(), probes.edges[:, -1].max()
    weights = _on_grid(blocks, resample_weights(probes.edges, probes.weights, near, far, BINS), shape)
    combined = torch.lerp(_max_over_neighbours(weights), weights, SELF_WEIGHT)
    shown = combined.sum(-1) > MIN_BLOCK_OPACITY
    if not shown.any():
        return nothing
    edges[shown] = _edges_around(combined[shown], near, far, samples)

    min_opacity = -_max_over_neighbours(-weights.sum(-1, keepdim=True))[..., 0]
    smooth = shown & (min_opacity > MIN_OPACITY) & (edges[..., -2] - edges[..., 1] < MAX_DEPTH_SPREAD)
    smooth = smooth & _reproduced(smooth, _on_grid(blocks, probes.appearance, shape), edges, block_px, render)
    return BlockProposals(smooth, shown & ~smooth, edges)


def _edges_around(
    weights: Float[Tensor, "blocks bins"], near: Float[Tensor, ""], far: Float[Tensor, ""], samples: int
) -> Float[Tensor, "blocks edges"]:
    """Divides the depth into intervals around `weights`, and one bin before and behind them."""
    weights = F.max_pool1d(weights[:, None], 3, 1, 1)[:, 0]
    count = len(weights)
    return importance_sample_edges(weights, near.expand(count), far.expand(count), samples, UNIFORM_SHARE)


def _reproduced(
    smooth: Bool[Tensor, "rows cols"],
    appearance: Float[Tensor, "rows cols 4"],
    edges: Float[Tensor, "rows cols edges"],
    block_px: int,
    render: RenderFn,
) -> Bool[Tensor, "rows cols"]:
    """Tells at which blocks the few intervals of `edges` show the same as the block's own search, also in neighbouring blocks."""
    again = render((smooth.nonzero() + 0.5) * block_px, edges[smooth]).appearance
    difference = torch.zeros(smooth.shape, device=smooth.device)
    difference[smooth] = (again - appearance[smooth]).abs().amax(-1)
    return _max_over_neighbours(difference[..., None])[..., 0] < COLOR_TOLERANCE


def _on_grid(
    blocks: Int[Tensor, "blocks 2"], values: Float[Tensor, "blocks n"], shape: tuple[int, ...]
) -> Float[Tensor, "rows cols n"]:
    """Places the values of `blocks` (row, col) on the grid of all blocks; the others get zeros."""
    grid = torch.zeros((*shape, values.shape[1]), device=values.device)
    grid[blocks[:, 0], blocks[:, 1]] = values
    return grid


def _max_over_neighbours(values: Float[Tensor, "rows cols n"]) -> Float[Tensor, "rows cols n"]:
    """Returns the maximum over each block and its eight neighbours; at the border, over those that exist."""
    return F.max_pool2d(values.permute(2, 0, 1)[None], 3, 1, 1)[0].permute(1, 2, 0)
