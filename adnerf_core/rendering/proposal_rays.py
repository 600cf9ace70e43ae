"""Proposal rays: one ray for each block of pixels finds the surfaces, and the block's pixels sample only there.

A pixel's ray normally searches the whole depth of the head: 48 look-ups in the density grid and 12 evaluations of the field. Neighbouring
pixels mostly see the same surfaces, so a frame is rendered block by block (4 x 4 pixels) instead:

1. The proposal ray through the middle of each block searches the whole depth and is rendered with 8 intervals. Its weights show at which
   depths the block has matter.
2. Every block divides the depth into 8 intervals around the matter that it or one of its eight neighbours has.
3. A pixel interpolates the interval edges of the four nearest proposal rays; it needs no grid.

In a changed view, every pixel searches the whole depth. Proposal rays halve the time of a frame (docs/decisions/0002, 0017, 0029).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adnerf_core.rendering.ray_samplers import importance_sample_edges, resample_weights

BINS = 48
"""Bins in depth, common to all proposal rays, in which their weights are compared. The head's box is about 3 head units deep, so a bin is
about 0.06 units, as thick as most surfaces. With 96 bins, whose narrower intervals miss more of a neighbour's surface, the picture was 1 dB
further from one with 48 intervals a ray (docs/decisions/0029)."""
MIN_BLOCK_OPACITY = 0.01
"""Opacity of the combined weights from which a block is rendered at all; below it the head changes a pixel by less than 3 of 255 levels."""
UNIFORM_SHARE = 0.05
"""Share of a block's intervals that is spread evenly in depth (see importance_sample_edges). Half of what a single ray uses: the
surface's depth is known from nine rays. Unmeasured."""


class SearchedRays(NamedTuple):
    """Rays that searched the whole depth for the head.

    kept: indices of the rays that may meet it. The other fields hold values for these only.
    edges: edges of the rays' intervals, distance from the camera in head units.
    weights: volume rendering weights of the intervals.
    """

    kept: Int[Tensor, " rays"]
    edges: Float[Tensor, "rays edges"]
    weights: Float[Tensor, "rays samples"]


class BlockProposals(NamedTuple):
    """Where the pixels of a frame are sampled.

    shown: blocks that show the head.
    edges: interval edges for the middle of each of these blocks.
    """

    shown: Bool[Tensor, "rows cols"]
    edges: Float[Tensor, "rows cols edges"]

    def interpolate_edges(self, positions: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels edges"]:
        """Interpolates interval edges bilinearly between the four nearest block middles; blocks that show no head do not count.

        When all pixels of a block had equal edges, the borders of the blocks showed on the moving head (docs/decisions/0017), and outlines
        were speckled.

        Args:
            positions: (row, col) in units of blocks; block (0, 0) spans 0..1. Each lies in a block that shows the head.
        """
        rows, cols = self.shown.shape
        grid = torch.stack([positions[:, 1] / cols, positions[:, 0] / rows], -1) * 2 - 1
        weighted = torch.cat([self.edges, torch.ones_like(self.edges[..., :1])], -1) * self.shown[..., None]
        values = F.grid_sample(
            weighted.permute(2, 0, 1)[None], grid[None, None], padding_mode="border", align_corners=False
        )[0, :, 0]
        return (values[:-1] / values[-1]).T


def propose_intervals(
    candidates: Bool[Tensor, "rows cols"],
    block_px: float,
    samples: int,
    search: Callable[[Float[Tensor, "pixels 2"]], SearchedRays],
) -> BlockProposals:
    """Renders one ray a block and proposes intervals for the block's pixels.

    Args:
        candidates: blocks that may show the head.
        block_px: side of a block, px.
        samples: number of intervals of a pixel.
        search: renders the head along the rays through some pixels (row, col).
    """
    shown = torch.zeros_like(candidates)
    edges = torch.zeros((*candidates.shape, samples + 1), device=candidates.device)
    blocks = candidates.nonzero()
    found = search((blocks + 0.5) * block_px)
    if len(found.kept) == 0:
        return BlockProposals(shown, edges)
    blocks = blocks[found.kept]
    near, far = found.edges[:, 0].min(), found.edges[:, -1].max()
    weights = torch.zeros((*candidates.shape, BINS), device=candidates.device)
    weights[blocks[:, 0], blocks[:, 1]] = resample_weights(found.edges, found.weights, near, far, BINS)
    around = _neighbour_maximum(_neighbour_maximum(weights, 0), 1)
    shown = around.sum(-1) > MIN_BLOCK_OPACITY
    edges[shown] = _edges_around(around[shown], near, far, samples)
    return BlockProposals(shown, edges)


def _edges_around(
    weights: Float[Tensor, "blocks bins"], near: Float[Tensor, ""], far: Float[Tensor, ""], samples: int
) -> Float[Tensor, "blocks edges"]:
    """Divides the depth into intervals that concentrate on `weights` and on the bins next to them."""
    weights = F.max_pool1d(weights[:, None], 3, 1, 1)[:, 0]
    count = len(weights)
    return importance_sample_edges(weights, near.expand(count), far.expand(count), samples, UNIFORM_SHARE)


def _neighbour_maximum(values: Float[Tensor, "*shape"], axis: int) -> Float[Tensor, "*shape"]:
    """Returns the maximum of each value and of the two next to it along an axis.

    Two passes over 36 x 37 blocks of 48 bins take .06 ms on a CPU, max_pool2d .73 ms.
    """
    count = values.shape[axis] - 1
    low, high = values.narrow(axis, 0, count), values.narrow(axis, 1, count)
    widened = values.clone()
    widened.narrow(axis, 0, count).copy_(torch.maximum(low, high))
    rest = widened.narrow(axis, 1, count)
    torch.maximum(rest, low, out=rest)
    return widened
