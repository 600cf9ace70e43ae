"""Scouts: what they found is told to the neighbours, and surfaces are told from outlines."""

import torch

from adnerf_core.scout import BINS, rebin, scout


def wall(depth: torch.Tensor, opacity: torch.Tensor):
    """A Scouting that finds a thin wall at `depth` with `opacity`, which are given for blocks (rows, cols) of 4 px."""

    def march(middles):
        row, col = (middles / 4).long().unbind(-1)
        chosen = (opacity[row, col] > 0).nonzero()[:, 0]
        at, found = depth[row, col][chosen], opacity[row, col][chosen]
        edges = torch.stack([torch.zeros_like(at), at - 0.05, at + 0.05, torch.full_like(at, 10.0)], -1)
        return chosen, edges, torch.stack([torch.zeros_like(at), found, torch.zeros_like(at)], -1)

    return march


def test_rebinning_keeps_each_sum_and_each_place():
    edges = torch.tensor([[0.0, 1.0, 1.5, 4.0], [0.5, 2.0, 2.2, 3.0]])
    weights = torch.tensor([[0.1, 0.5, 0.2], [0.0, 0.9, 0.0]])
    bins = rebin(edges, weights, torch.tensor(0.0), torch.tensor(4.0))
    assert bins.shape == (2, BINS) and torch.allclose(bins.sum(-1), weights.sum(-1), atol=1e-6)
    middle = (torch.arange(BINS) + 0.5) * 4 / BINS
    assert abs((bins[1] * middle).sum() / 0.9 - 2.1) < 0.02


def test_a_plain_wall_is_simple_and_its_rays_are_cut_around_it():
    depth, opacity = torch.full((5, 6), 4.0), torch.ones(5, 6)
    found = scout(torch.ones(5, 6, dtype=torch.bool), 4, 6, wall(depth, opacity))
    assert found.simple.all() and not found.hard.any()
    inner = found.edges[..., 1:-1]
    assert (inner > 3.5).all() and (inner < 4.5).all() and (found.edges.diff(dim=-1) > 0).all()


def test_steps_and_outlines_are_hard_and_emptiness_is_left_out():
    depth, opacity = torch.full((5, 12), 4.0), torch.ones(5, 12)
    depth[:, 3:] = 6.0
    opacity[:, 8:] = 0.0
    found = scout(torch.ones(5, 12, dtype=torch.bool), 4, 6, wall(depth, opacity))
    assert found.simple[0].tolist() == [True, True, False, False, True, True, True, False] + 4 * [False]
    assert found.hard[0].nonzero()[:, 0].tolist() == [2, 3, 7, 8]


def test_nothing_found_nothing_marched():
    depth, opacity = torch.full((3, 3), 4.0), torch.zeros(3, 3)
    found = scout(torch.ones(3, 3, dtype=torch.bool), 4, 6, wall(depth, opacity))
    assert not found.simple.any() and not found.hard.any()
    assert not scout(torch.zeros(3, 3, dtype=torch.bool), 4, 6, wall(depth, opacity)).hard.any()
