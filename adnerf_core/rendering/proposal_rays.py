"""Scouts: one ray a block of the picture goes ahead and tells the others where to look.

A frame's pixels need not search their rays one by one. One ray through the middle of each block of 4 x 4 pixels is marched with
care; where it and its eight neighbours found a surface close together, the block's pixels march a few intervals around it, cut in
proportion between the nearest scouts', and look nothing up. Whether these few show the same is tried at the middles: between them a
thin surface may be missed, above all where a block is wide, in small pictures. The others (outlines, the depth of an open mouth) are
marched as in training.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from adnerf_core.rendering.volume_rendering import importance_sample_edges

BINS = 96
"""Steps in depth between the nearest and the farthest point of the head's box that a scout meets."""
MIN_OPACITY = 0.9
"""Opacity that all nine scouts must have found: less is the outline, or loose hair."""
MAX_DEPTH_SPREAD = 0.8
"""Depth, head units, within which the nine must have found it."""
COLOR_TOLERANCE = 0.03
"""Colour and transmittance, 0..1, by which the few intervals may differ from what scouts have seen, there and next to it."""
MIN_BLOCK_OPACITY = 0.01
"""Opacity that nine scouts together must have found for a block to be marched at all."""
SELF_WEIGHT = 0.6
"""What a block's own scout counts beside the largest of the nine: more sees the surface sharper, and misses more of its edges."""
UNIFORM_SHARE = 0.05
"""Share of a block's intervals that is spread evenly (see importance_sample_edges)."""


class RenderedPixels(NamedTuple):
    """What rays have met: which of the pixels were worth it, the edges of their intervals (distance, head units), the weights
    of these, and what was seen."""

    chosen: Int[Tensor, " rays"]
    edges: Float[Tensor, "rays edges"]
    weights: Float[Tensor, "rays samples"]
    view: Float[Tensor, "rays 4"]
    """Premultiplied colour, and transmittance."""


@runtime_checkable
class RenderFn(Protocol):
    """Marches the rays through some pixels."""

    def __call__(
        self, pixels: Float[Tensor, "pixels 2"], edges: Float[Tensor, "pixels edges"] | None = None
    ) -> RenderedPixels:
        """With care where nothing is said of the intervals; all of them, cut at `edges`, where these are given."""


class BlockProposals(NamedTuple):
    """Which blocks are simple, which are not (the rest shows no head), and how a simple block's rays are cut."""

    simple: Bool[Tensor, "rows cols"]
    hard: Bool[Tensor, "rows cols"]
    edges: Float[Tensor, "rows cols edges"]

    @classmethod
    def hard_only(cls, blocks: Bool[Tensor, "rows cols"], few: int) -> BlockProposals:
        """Where no scout was sent: `blocks` are marched with care."""
        return cls(torch.zeros_like(blocks), blocks, torch.zeros((*blocks.shape, few + 1), device=blocks.device))

    def cuts(self, places: Float[Tensor, "pixels 2"]) -> Float[Tensor, "pixels edges"]:
        """How rays through `places` (row, col; in blocks) of simple blocks are cut: between the four nearest scouts, in proportion.

        Cut alike within a block, rays would show the blocks, and the picture would tremble as they pass over the head.
        """
        rows, cols, _ = self.edges.shape
        grid = places.flip(-1) / places.new_tensor([cols, rows]) * 2 - 1
        edges = self.edges.permute(2, 0, 1)[None]
        return F.grid_sample(edges, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def propose_intervals(blocks: Bool[Tensor, "rows cols"], edge: int, few: int, look: RenderFn) -> BlockProposals:
    """Sends a ray through the middle of each of `blocks`, whose edge is `edge` px; simple ones get `few` intervals."""
    sent = blocks.nonzero()
    edges = torch.zeros((*blocks.shape, few + 1), device=blocks.device)
    nothing = BlockProposals(torch.zeros_like(blocks), torch.zeros_like(blocks), edges)
    chosen, cuts, weights, view = look((sent + 0.5) * edge)
    if len(chosen) == 0:
        return nothing
    sent = sent[chosen]
    found = torch.zeros((*blocks.shape, BINS), device=blocks.device)
    near, far = cuts[:, 0].min(), cuts[:, -1].max()
    found[sent[:, 0], sent[:, 1]] = resample_weights(cuts, weights, near, far)
    opacity = found.sum(-1)
    least = -_over_neighbours(-opacity[..., None])[..., 0]
    shared = torch.lerp(_over_neighbours(found), found, SELF_WEIGHT)
    marched = shared.sum(-1) > MIN_BLOCK_OPACITY
    if not marched.any():
        return nothing
    shared = shared[marched]
    shared = F.max_pool1d(shared[:, None], 3, 1, 1)[:, 0]  # and one step before and behind
    edges[marched] = importance_sample_edges(
        shared, near.expand(len(shared)), far.expand(len(shared)), few, UNIFORM_SHARE
    )
    simple = marched & (least > MIN_OPACITY) & (edges[..., -2] - edges[..., 1] < MAX_DEPTH_SPREAD)
    views = torch.zeros((*blocks.shape, 4), device=blocks.device)
    views[sent[:, 0], sent[:, 1]] = view
    again = look((simple.nonzero() + 0.5) * edge, edges[simple]).view
    other = torch.zeros(blocks.shape, device=blocks.device)
    other[simple] = (again - views[simple]).abs().amax(-1)
    simple = simple & (_over_neighbours(other[..., None])[..., 0] < COLOR_TOLERANCE)
    return BlockProposals(simple, marched & ~simple, edges)


def resample_weights(
    edges: Float[Tensor, "rays edges"],
    weights: Float[Tensor, "rays samples"],
    near: Float[Tensor, ""],
    far: Float[Tensor, ""],
) -> Float[Tensor, "rays bins"]:
    """The weights of intervals that differ from ray to ray, over BINS equal ones from `near` to `far`; each sum is kept."""
    total = F.pad(weights.cumsum(-1), (1, 0))
    steps = torch.linspace(0, 1, BINS + 1, device=edges.device)
    places = (near + steps * (far - near)).expand(len(edges), -1).contiguous()
    right = torch.searchsorted(edges.contiguous(), places).clamp(1, edges.shape[1] - 1)
    low, high = edges.gather(1, right - 1), edges.gather(1, right)
    part = ((places - low) / (high - low).clamp(min=1e-8)).clamp(0, 1)
    return torch.lerp(total.gather(1, right - 1), total.gather(1, right), part).diff(dim=-1)


def _over_neighbours(values: Float[Tensor, "rows cols n"]) -> Float[Tensor, "rows cols n"]:
    """The largest of each block and its eight neighbours; blocks outside the picture do not count."""
    return F.max_pool2d(values.permute(2, 0, 1)[None], 3, 1, 1)[0].permute(1, 2, 0)
