"""Proposal rays: neighbouring blocks share what their rays find, and surfaces are told from outlines."""

import torch
import torch.nn.functional as F

from adnerf_core.rendering.proposal_rays import RenderedPixels, propose_intervals


def wall(depth: torch.Tensor, opacity: torch.Tensor, thin: torch.Tensor | None = None):
    """A RenderFn of a thin grey wall at `depth` with `opacity`, both for blocks (rows, cols) of 4 px. Blocks that are `thin` show nothing in
    intervals that are not their own."""

    def render(pixels, edges=None):
        row, col = (pixels / 4).long().unbind(-1)
        at, alpha = depth[row, col], opacity[row, col]
        if edges is not None:
            if thin is not None:
                alpha = torch.where(thin[row, col], 0.0, alpha)
            weights = F.one_hot((edges[:, 1:-1] < at[:, None]).sum(-1), edges.shape[1] - 1) * alpha[:, None]
            return RenderedPixels(torch.arange(len(pixels)), edges, weights, appearance(alpha))
        kept = (alpha > 0).nonzero()[:, 0]
        at, alpha = at[kept], alpha[kept]
        edges = torch.stack([torch.zeros_like(at), at - 0.05, at + 0.05, torch.full_like(at, 10.0)], -1)
        return RenderedPixels(
            kept, edges, torch.stack([torch.zeros_like(at), alpha, torch.zeros_like(at)], -1), appearance(alpha)
        )

    def appearance(alpha):
        return torch.stack([alpha / 2, alpha / 2, alpha / 2, 1 - alpha], -1)

    return render


def test_a_plain_wall_is_smooth_and_its_intervals_lie_around_it():
    depth, opacity = torch.full((5, 6), 4.0), torch.ones(5, 6)
    proposals = propose_intervals(torch.ones(5, 6, dtype=torch.bool), 4, (6, 8), wall(depth, opacity))
    assert proposals.smooth.all() and not proposals.detailed.any()
    inner = proposals.interval_edges[..., 1:-1]
    assert (inner > 3.5).all() and (inner < 4.5).all() and (proposals.interval_edges.diff(dim=-1) > 0).all()


def test_between_proposal_rays_the_intervals_follow_a_slope():
    depth = 4 + 0.1 * torch.arange(6).expand(5, 6)
    proposals = propose_intervals(torch.ones(5, 6, dtype=torch.bool), 4, (6, 8), wall(depth, torch.ones(5, 6)))
    across = torch.linspace(1.5, 4.5, 25)
    edges = proposals.interpolate_edges(torch.stack([torch.full_like(across, 2.2), across], -1))
    assert torch.allclose(edges[::8], proposals.interval_edges[2, 1:5], atol=1e-5)
    middle = edges[:, 1:-1].mean(1)
    assert (middle.diff() > 0).all() and middle.diff(n=2).abs().max() < 0.01  # no jump from block to block
    assert torch.equal(
        proposals.interpolate_edges(torch.zeros(1, 2))[0], proposals.interval_edges[0, 0]
    )  # at the border: the nearest


def test_steps_and_outlines_are_detailed_blocks_and_empty_blocks_are_left_out():
    depth, opacity = torch.full((5, 12), 4.0), torch.ones(5, 12)
    depth[:, 3:] = 6.0
    opacity[:, 8:] = 0.0
    proposals = propose_intervals(torch.ones(5, 12, dtype=torch.bool), 4, (6, 8), wall(depth, opacity))
    assert proposals.smooth[0].tolist() == [True, True, False, False, True, True, True, False] + 4 * [False]
    assert proposals.detailed[0].nonzero()[:, 0].tolist() == [2, 3, 7, 8]


def test_blocks_that_few_intervals_do_not_reproduce_are_detailed_blocks_and_so_are_their_neighbours():
    depth, opacity = torch.full((5, 7), 4.0), torch.ones(5, 7)
    thin = torch.zeros(5, 7, dtype=torch.bool)
    thin[2, 3] = True
    proposals = propose_intervals(torch.ones(5, 7, dtype=torch.bool), 4, (6, 8), wall(depth, opacity, thin))
    beside = torch.zeros(5, 7, dtype=torch.bool)
    beside[1:4, 2:5] = True
    assert torch.equal(proposals.detailed, beside) and torch.equal(proposals.smooth, ~beside)


def test_without_opacity_or_candidates_no_block_is_rendered():
    depth, opacity = torch.full((3, 3), 4.0), torch.zeros(3, 3)
    proposals = propose_intervals(torch.ones(3, 3, dtype=torch.bool), 4, (6, 8), wall(depth, opacity))
    assert not proposals.smooth.any() and not proposals.detailed.any()
    assert not propose_intervals(torch.zeros(3, 3, dtype=torch.bool), 4, (6, 8), wall(depth, opacity)).detailed.any()
