"""Scouts: what they found is told to the neighbours, and surfaces are told from outlines."""

import torch
import torch.nn.functional as F

from adnerf_core.rendering.proposal_rays import BINS, RenderedPixels, propose_intervals, resample_weights


def wall(depth: torch.Tensor, opacity: torch.Tensor, thin: torch.Tensor | None = None):
    """Looking at a thin grey wall at `depth` with `opacity`, which are given for blocks (rows, cols) of 4 px. Of those that are
    `thin` nothing is seen in the middles of other intervals than its own."""

    def look(pixels, edges=None):
        row, col = (pixels / 4).long().unbind(-1)
        at, found = depth[row, col], opacity[row, col]
        if edges is not None:
            if thin is not None:
                found = torch.where(thin[row, col], 0.0, found)
            weights = F.one_hot((edges[:, 1:-1] < at[:, None]).sum(-1), edges.shape[1] - 1) * found[:, None]
            return RenderedPixels(torch.arange(len(pixels)), edges, weights, seen(found))
        chosen = (found > 0).nonzero()[:, 0]
        at, found = at[chosen], found[chosen]
        edges = torch.stack([torch.zeros_like(at), at - 0.05, at + 0.05, torch.full_like(at, 10.0)], -1)
        return RenderedPixels(
            chosen, edges, torch.stack([torch.zeros_like(at), found, torch.zeros_like(at)], -1), seen(found)
        )

    def seen(found):
        return torch.stack([found / 2, found / 2, found / 2, 1 - found], -1)

    return look


def test_rebinning_keeps_each_sum_and_each_place():
    edges = torch.tensor([[0.0, 1.0, 1.5, 4.0], [0.5, 2.0, 2.2, 3.0]])
    weights = torch.tensor([[0.1, 0.5, 0.2], [0.0, 0.9, 0.0]])
    bins = resample_weights(edges, weights, torch.tensor(0.0), torch.tensor(4.0))
    assert bins.shape == (2, BINS) and torch.allclose(bins.sum(-1), weights.sum(-1), atol=1e-6)
    middle = (torch.arange(BINS) + 0.5) * 4 / BINS
    assert abs((bins[1] * middle).sum() / 0.9 - 2.1) < 0.02


def test_a_plain_wall_is_simple_and_its_rays_are_cut_around_it():
    depth, opacity = torch.full((5, 6), 4.0), torch.ones(5, 6)
    found = propose_intervals(torch.ones(5, 6, dtype=torch.bool), 4, 6, wall(depth, opacity))
    assert found.simple.all() and not found.hard.any()
    inner = found.edges[..., 1:-1]
    assert (inner > 3.5).all() and (inner < 4.5).all() and (found.edges.diff(dim=-1) > 0).all()


def test_between_scouts_the_cuts_follow_a_slope():
    depth = 4 + 0.1 * torch.arange(6).expand(5, 6)
    found = propose_intervals(torch.ones(5, 6, dtype=torch.bool), 4, 6, wall(depth, torch.ones(5, 6)))
    across = torch.linspace(1.5, 4.5, 25)
    cuts = found.cuts(torch.stack([torch.full_like(across, 2.2), across], -1))
    assert torch.allclose(cuts[::8], found.edges[2, 1:5], atol=1e-5)
    middle = cuts[:, 1:-1].mean(1)
    assert (middle.diff() > 0).all() and middle.diff(n=2).abs().max() < 0.01  # no leap from block to block
    assert torch.equal(found.cuts(torch.zeros(1, 2))[0], found.edges[0, 0])  # at the picture's border: the nearest


def test_steps_and_outlines_are_hard_and_emptiness_is_left_out():
    depth, opacity = torch.full((5, 12), 4.0), torch.ones(5, 12)
    depth[:, 3:] = 6.0
    opacity[:, 8:] = 0.0
    found = propose_intervals(torch.ones(5, 12, dtype=torch.bool), 4, 6, wall(depth, opacity))
    assert found.simple[0].tolist() == [True, True, False, False, True, True, True, False] + 4 * [False]
    assert found.hard[0].nonzero()[:, 0].tolist() == [2, 3, 7, 8]


def test_what_the_few_intervals_would_miss_is_hard_and_so_is_what_stands_beside_it():
    depth, opacity = torch.full((5, 7), 4.0), torch.ones(5, 7)
    thin = torch.zeros(5, 7, dtype=torch.bool)
    thin[2, 3] = True
    found = propose_intervals(torch.ones(5, 7, dtype=torch.bool), 4, 6, wall(depth, opacity, thin))
    beside = torch.zeros(5, 7, dtype=torch.bool)
    beside[1:4, 2:5] = True
    assert torch.equal(found.hard, beside) and torch.equal(found.simple, ~beside)


def test_nothing_found_nothing_marched():
    depth, opacity = torch.full((3, 3), 4.0), torch.zeros(3, 3)
    found = propose_intervals(torch.ones(3, 3, dtype=torch.bool), 4, 6, wall(depth, opacity))
    assert not found.simple.any() and not found.hard.any()
    assert not propose_intervals(torch.zeros(3, 3, dtype=torch.bool), 4, 6, wall(depth, opacity)).hard.any()
