"""Rays against closed forms: the axes are those of the docstrings."""

import math

import torch

from adnerf_core.cameras.cameras import Camera, cast_rays, pose_angles, project

CAMERA = Camera(100, 200, 150.0, (100.0, 50.0))


def pose(angle: float = 0.0, position: tuple[float, float, float] = (0.0, 0.0, 10.0)) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    matrix[:3, 3] = torch.tensor(position)
    return matrix


def test_the_principal_ray_looks_down_minus_z():
    rays = cast_rays(CAMERA, pose()[None], torch.tensor([[50.0, 100.0]]))
    assert torch.allclose(rays.directions, torch.tensor([[0.0, 0.0, -1.0]]))
    assert torch.allclose(rays.origins, torch.tensor([[0.0, 0.0, 10.0]]))


def test_right_in_the_picture_is_plus_x_and_down_is_minus_y():
    rays = cast_rays(CAMERA, pose().expand(2, 4, 4), torch.tensor([[50.0, 250.0], [200.0, 100.0]]))
    assert torch.allclose(rays.directions[0], torch.tensor([1.0, 0.0, -1.0]) / math.sqrt(2))
    assert torch.allclose(rays.directions[1], torch.tensor([0.0, -1.0, -1.0]) / math.sqrt(2))


def test_projecting_a_point_on_a_ray_gives_its_pixel_back():
    pixels = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([100.0, 200.0])
    camera_to_world = pose(0.4, (1.0, -0.5, 8.0))
    rays = cast_rays(CAMERA, camera_to_world.expand(50, 4, 4), pixels)
    points = rays.origins + 7.0 * rays.directions
    assert torch.allclose(project(CAMERA, camera_to_world, points), pixels, atol=1e-3)


def test_pixel_centres_are_at_halves_and_row_major():
    grid = Camera(2, 3, 1.0, (1.5, 1.0)).pixel_grid()
    assert grid.tolist() == [[0.5, 0.5], [0.5, 1.5], [0.5, 2.5], [1.5, 0.5], [1.5, 1.5], [1.5, 2.5]]


def test_a_resized_camera_sees_the_same_direction_at_the_scaled_pixel():
    small = CAMERA.resized(100)
    large_ray = cast_rays(CAMERA, pose()[None], torch.tensor([[30.0, 40.0]]))
    small_ray = cast_rays(small, pose()[None], torch.tensor([[15.0, 20.0]]))
    assert (small.height, small.width) == (50, 100)
    assert torch.allclose(large_ray.directions, small_ray.directions)


def test_pose_angles_are_those_of_the_head():
    yaw = torch.tensor(0.3)
    head = torch.eye(4)
    head[0, 0], head[0, 2], head[2, 0], head[2, 2] = yaw.cos(), yaw.sin(), -yaw.sin(), yaw.cos()
    head[:3, 3] = torch.tensor([0.5, -0.2, -9.0])
    angles = pose_angles(torch.linalg.inv(head)[None])[0]
    assert torch.allclose(angles, torch.tensor([0.0, 0.3, 0.0, 0.5, -0.2, -9.0]), atol=1e-5)
