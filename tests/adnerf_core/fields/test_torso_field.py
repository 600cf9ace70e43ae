"""TorsoField: motion, and the warp that depends on the pose."""

import math

import torch

from adnerf_core.fields.torso_field import TorsoField, inverse_similarity


def test_the_warp_is_zero_at_the_start_and_depends_on_the_pose_once_trained():
    torch.manual_seed(0)
    field = TorsoField((8, 16), 4)
    places = torch.rand(50, 2) * 2 - 1
    with torch.no_grad():
        field.decode[0].weight[:, -6:] = 0
    still = field(places, torch.zeros(50, 4), torch.zeros(50, 6))
    assert torch.equal(still.color, field(places, torch.zeros(50, 4), torch.ones(50, 6)).color)
    with torch.no_grad():
        field.warp[-1].weight.normal_()
    assert not torch.allclose(
        field(places, torch.zeros(50, 4), torch.zeros(50, 6)).color,
        field(places, torch.zeros(50, 4), torch.ones(50, 6)).color,
    )


def test_the_inverse_similarity_undoes_the_motion():
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(20, 2, generator=generator) * 2 - 1
    x, y, angle, scale = 0.1, -0.2, 0.3, 1.1
    rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    seen = scale * places @ rotation.T + torch.tensor([x, y])
    motion = torch.tensor([x, y, angle, math.log(scale)]).expand(20, 4)
    assert torch.allclose(inverse_similarity(motion, seen), places, atol=1e-6)
