"""Proposal rays: neighbouring blocks share what their rays find."""

import torch

from adnerf_core.rendering.proposal_rays import BlockProposals, SearchedRays, propose_intervals

SAMPLES = 6


def propose(depth: torch.Tensor, opacity: torch.Tensor) -> BlockProposals:
    """Proposals for a thin wall at `depth` with `opacity`, both for blocks (rows, cols) of 4 px."""

    def search(pixels):
        row, col = (pixels / 4).long().unbind(-1)
        kept = (opacity[row, col] > 0).nonzero()[:, 0]
        at, alpha = depth[row, col][kept], opacity[row, col][kept]
        edges = torch.stack([torch.zeros_like(at), at - 0.05, at + 0.05, torch.full_like(at, 10.0)], -1)
        return SearchedRays(kept, edges, torch.stack([torch.zeros_like(at), alpha, torch.zeros_like(at)], -1))

    return propose_intervals(torch.ones_like(depth, dtype=torch.bool), 4, SAMPLES, search)


def test_the_intervals_lie_around_a_wall():
    proposals = propose(torch.full((5, 6), 4.0), torch.ones(5, 6))
    assert proposals.shown.all()
    inner = proposals.edges[..., 1:-1]
    assert (inner > 3.5).all() and (inner < 4.5).all() and (proposals.edges.diff(dim=-1) > 0).all()


def test_between_proposal_rays_the_intervals_follow_a_slope():
    proposals = propose(4 + 0.1 * torch.arange(6).expand(5, 6), torch.ones(5, 6))
    across = torch.linspace(1.5, 4.5, 25)
    edges = proposals.interpolate_edges(torch.stack([torch.full_like(across, 2.2), across], -1))
    assert torch.allclose(edges[::8], proposals.edges[2, 1:5], atol=1e-5)
    middle = edges[:, 1:-1].mean(1)
    assert (middle.diff() > 0).all() and middle.diff(n=2).abs().max() < 0.02  # no jump from block to block
    at_corner = proposals.interpolate_edges(torch.zeros(1, 2))[0]
    assert torch.allclose(at_corner, proposals.edges[0, 0])  # at the border: the nearest


def test_at_a_step_there_are_intervals_around_both_surfaces():
    depth = torch.full((5, 8), 4.0)
    depth[:, 4:] = 6.0
    edges = propose(depth, torch.ones(5, 8)).edges[2]
    for near_the_step in (3, 4):
        assert all(((edges[near_the_step] - at).abs() < 0.4).sum() >= 2 for at in (4, 6))
    assert ((edges[1] - 6).abs() > 0.4).all()


def test_beside_an_outline_the_intervals_are_those_of_the_head():
    """Blocks that show nothing do not count, and those next to the outline are still rendered."""
    opacity = torch.ones(5, 8)
    opacity[:, 4:] = 0
    proposals = propose(torch.full((5, 8), 4.0), opacity)
    assert proposals.shown[0].tolist() == 5 * [True] + 3 * [False]
    edges = proposals.interpolate_edges(torch.tensor([[2.5, 4.4], [2.5, 4.99]]))
    assert torch.allclose(edges, proposals.edges[2, 4].expand(2, -1), atol=1e-5)


def test_without_opacity_or_candidates_no_block_is_rendered():
    depth, opacity = torch.full((3, 3), 4.0), torch.zeros(3, 3)
    assert not propose(depth, opacity).shown.any()
