"""Samplers along rays against counts and closed forms."""

import math

import torch

from adnerf_core.rendering.ray_samplers import (
    blur_weights,
    importance_sample,
    importance_sample_edges,
    locate,
    resample_weights,
    stratified_sample,
)


def test_values_are_located_in_their_interval():
    edges = torch.tensor([[0.0, 1.0, 1.0, 3.0]])
    index, fraction = locate(torch.tensor([[-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, 9.0]]), edges)
    assert index.tolist() == [[0, 0, 0, 2, 2, 2, 2]]
    assert fraction.tolist() == [[0.0, 0.0, 0.25, 0.0, 0.5, 1.0, 1.0]]


def test_intervals_cover_the_ray_and_concentrate_where_the_weight_is():
    weights = torch.zeros(1, 10)
    weights[0, 7] = 1.0
    edges = importance_sample_edges(weights, torch.tensor([2.0]), torch.tensor([4.0]), 20, uniform=0.1)
    assert edges.shape == (1, 21)
    assert float(edges[0, 0]) == 2.0 and math.isclose(float(edges[0, -1]), 4.0, rel_tol=1e-6)
    assert (edges.diff() >= 0).all()
    inside = ((edges >= 3.4) & (edges <= 3.6)).sum()
    assert 17 <= int(inside) <= 20


def test_intervals_are_even_without_weights():
    edges = importance_sample_edges(torch.zeros(1, 8), torch.tensor([0.0]), torch.tensor([1.0]), 4)
    assert torch.allclose(edges[0, 1:-1], torch.tensor([0.25, 0.5, 0.75]), atol=0.01)


def test_blurring_reaches_the_neighbours_and_keeps_the_peak():
    weights = torch.tensor([[0.0, 0.0, 1.0, 0.0, 0.0]])
    assert blur_weights(weights).tolist() == [[0.0, 0.5, 1.0, 0.5, 0.0]]
    flat = torch.full((1, 6), 0.3)
    assert torch.allclose(blur_weights(flat), flat)


def test_stratified_samples_stay_in_their_share():
    depths = stratified_sample(1.0, 2.0, 300, 11, torch.Generator().manual_seed(0), torch.device("cpu"))
    edges = torch.tensor([1.0, *(1.05 + 0.1 * i for i in range(10)), 2.0])
    assert (depths >= edges[:-1] - 1e-6).all() and (depths <= edges[1:] + 1e-6).all()
    assert float(depths[:, 5].std()) > 0.02
    even = stratified_sample(1.0, 2.0, 2, 11, None, torch.device("cpu"))
    assert torch.allclose(even, torch.linspace(1, 2, 11).expand(2, 11))


def test_importance_samples_follow_the_weights():
    edges = torch.linspace(0, 1, 6).expand(1, 6)
    weights = torch.tensor([[0.0, 3.0, 0.0, 1.0, 0.0]])
    for generator in (None, torch.Generator().manual_seed(0)):
        drawn = importance_sample(edges, weights, 4000, generator)
        shares = torch.histc(drawn, 5, 0, 1) / 4000
        assert torch.allclose(shares, torch.tensor([0.0, 0.75, 0.0, 0.25, 0.0]), atol=0.03)


def test_an_empty_ray_is_sampled_evenly():
    drawn = importance_sample(torch.linspace(2, 4, 9).expand(1, 9), torch.zeros(1, 8), 5, None)
    assert torch.allclose(drawn, torch.linspace(2, 4, 5)[None], atol=1e-3)


def test_resampling_keeps_each_sum_and_each_place():
    count = 96
    edges = torch.tensor([[0.0, 1.0, 1.5, 4.0], [0.5, 2.0, 2.2, 3.0]])
    weights = torch.tensor([[0.1, 0.5, 0.2], [0.0, 0.9, 0.0]])
    bins = resample_weights(edges, weights, torch.tensor(0.0), torch.tensor(4.0), count)
    assert bins.shape == (2, count) and torch.allclose(bins.sum(-1), weights.sum(-1), atol=1e-6)
    middle = (torch.arange(count) + 0.5) * 4 / count
    assert abs((bins[1] * middle).sum() / 0.9 - 2.1) < 0.02
