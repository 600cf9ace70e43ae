"""Volume rendering and the density grid against closed forms."""

import math

import torch

from adnerf_core.rendering.density_grid import DensityGrid
from adnerf_core.rendering.volume_rendering import (
    RayOutput,
    distortion_loss,
    intersect_aabb,
    over,
    weights_from_density,
)


def test_constant_density_follows_beer_and_lambert():
    density, delta = torch.full((1, 40), 0.7), torch.full((1, 40), 0.05)
    weights, transmittance = weights_from_density(density, delta)
    assert math.isclose(float(transmittance), math.exp(-0.7 * 2.0), rel_tol=1e-5)
    assert math.isclose(float(weights.sum() + transmittance), 1.0, rel_tol=1e-5)
    # The light that stops in the first half is 1 - exp(-sigma / 2 of the way).
    assert math.isclose(float(weights[:, :20].sum()), 1 - math.exp(-0.7), rel_tol=1e-5)


def test_weights_are_those_of_the_alpha_recursion():
    generator = torch.Generator().manual_seed(0)
    density, delta = torch.rand(5, 9, generator=generator) * 10, torch.rand(5, 9, generator=generator)
    weights, transmittance = weights_from_density(density, delta)
    alpha, light = 1 - torch.exp(-density * delta), torch.ones(5)
    for i in range(9):
        assert torch.allclose(weights[:, i], light * alpha[:, i], atol=1e-6)
        light = light * (1 - alpha[:, i])
    assert torch.allclose(transmittance, light, atol=1e-6)


def test_an_opaque_wall_hides_what_is_behind_it_and_nothing_shows_all():
    weights, transmittance = weights_from_density(torch.tensor([[0.0, 1e6, 5.0], [0.0, 0.0, 0.0]]), torch.ones(2, 3))
    assert torch.allclose(weights[0], torch.tensor([0.0, 1.0, 0.0]))
    assert transmittance.tolist() == [0.0, 1.0]


def test_over_composites_torso_head_and_background():
    background = torch.tensor([[0.0, 0.0, 1.0]])
    head = RayOutput(torch.tensor([[0.5, 0.0, 0.0]]), torch.tensor([0.5]))
    torso = RayOutput(torch.tensor([[0.0, 0.25, 0.0]]), torch.tensor([0.75]))
    expected = torch.tensor([[0.75 * 0.5, 0.25, 0.75 * 0.5]])
    assert torch.allclose(over(torso, over(head, background)), expected)


def test_over_is_associative():
    generator = torch.Generator().manual_seed(1)
    a, b = (RayOutput(torch.rand(4, 3, generator=generator), torch.rand(4, generator=generator)) for _ in range(2))
    behind = torch.rand(4, 3, generator=generator)
    joined = RayOutput(a.color + a.transmittance[:, None] * b.color, a.transmittance * b.transmittance)
    assert torch.allclose(over(a, over(b, behind)), over(joined, behind), atol=1e-6)


def test_rays_enter_and_leave_the_box_at_its_sides():
    origins = torch.tensor([[0.0, 0.0, 5.0], [0.0, 3.0, 5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 5.0]])
    directions = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    near, far, hits = intersect_aabb(origins, directions)
    assert hits.tolist() == [True, False, True, False]
    assert math.isclose(float(near[0]), 4.0, rel_tol=1e-5) and math.isclose(float(far[0]), 6.0, rel_tol=1e-5)
    assert float(near[2]) == 0.0 and math.isclose(float(far[2]), 1.0, rel_tol=1e-5)


def test_the_density_grid_finds_cells_by_place_and_decays_slowly():
    grid = DensityGrid(8)
    generator = torch.Generator().manual_seed(0)
    grid.update(lambda points: (points[:, 0] > 0).float() * 9, (0, 1), generator, reset=True)
    assert grid.query(torch.tensor([[0.9, 0.0, -0.9], [-0.9, 0.0, 0.9]])).tolist() == [9.0, 0.0]
    assert (grid.occupied_cells(1.0)[:, 0] > 0).all() and len(grid.occupied_cells(1.0)) == 4**3 // 2
    grid.update(lambda points: torch.zeros(len(points)), (0, 1), generator)
    assert 5 < float(grid.query(torch.tensor([0.9, 0.0, 0.0]))) < 9


def test_distortion_is_the_mean_distance_of_two_places_drawn_from_the_weights():
    edges = torch.tensor([[0.0, 0.1, 0.4, 0.5, 1.0]])
    weights = torch.tensor([[0.1, 0.3, 0.2, 0.4]])
    middle, delta = (edges[:, 1:] + edges[:, :-1])[0] / 2, edges.diff()[0]
    pairs = (
        sum(weights[0, i] * weights[0, j] * (middle[i] - middle[j]).abs() for i in range(4) for j in range(4))
        + (weights[0] ** 2 * delta / 3).sum()
    )
    assert torch.allclose(distortion_loss(weights, edges)[0], pairs)
    one = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    assert torch.allclose(distortion_loss(one, edges), torch.tensor([0.1])), "one interval: a third of its length"


def test_the_grid_along_rays_is_the_grid_at_their_points():
    generator = torch.Generator().manual_seed(0)
    grid = DensityGrid(8)
    grid.cells.copy_(torch.rand(512, generator=generator))
    origins, directions = torch.rand(2, 20, 3, generator=generator) - 0.5
    distances = 4 * torch.rand(20, 9, generator=generator) - 2  # some of them outside the box
    points = origins[:, None] + distances[..., None] * directions[:, None]
    assert torch.equal(grid.query_along_rays(origins, directions, distances), grid.query(points))
