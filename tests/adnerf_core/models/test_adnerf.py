"""The published networks and their volume rendering, against counts and closed forms."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from adnerf_core.audio.windows import windows
from adnerf_core.config import PaperConfig
from adnerf_core.fields.nerf_mlp import NerfMlp
from adnerf_core.models.adnerf import INTEROCULAR_M, AdNerf, CoarseFineField, render_rays
from adnerf_core.models.audionet import AFTER, BEFORE, AudioAttNet, AudioNet
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.rendering.volume_rendering import over
from tests.adnerf_core.models.test_talking_head import GEOMETRY

PUBLISHED = PaperConfig()
SMALL = PaperConfig(layers=4, width=16, audio_code=8, coarse=8, fine=8)
HEAD_CONDITION, TORSO_CONDITION = 64, 106


@pytest.fixture(scope="module")
def published() -> AdNerf:
    return AdNerf(PUBLISHED, GEOMETRY, 29)


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


def test_a_net_has_the_published_number_of_parameters(published):
    # By hand: input, four layers, one with the input again, two layers; density, feature, three of colour, colour.
    def by_hand(entry: int) -> int:
        trunk = (entry + 1) * 256 + 4 * 257 * 256 + (256 + entry + 1) * 256 + 2 * 257 * 256
        return trunk + 257 + 257 * 256 + (256 + 27 + 1) * 128 + 2 * 129 * 128 + 129 * 3

    assert count(published.head.coarse) == count(published.head.fine) == by_hand(63 + HEAD_CONDITION)
    assert count(published.torso.coarse) == count(published.torso.fine) == by_hand(63 + TORSO_CONDITION)
    assert round(count(published.head.fine) / 1e6, 2) == 0.66


def test_multiply_adds_of_a_point_are_the_weights(published):
    field = published.head.fine
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        field(torch.rand(10, 3), torch.rand(10, 3), torch.rand(10, HEAD_CONDITION))
    assert counter.get_total_flops() == 2 * 10 * sum(
        weight.numel() for weight in field.parameters() if weight.ndim == 2
    )


def test_the_networks_of_a_field_are_evaluated_at_the_published_number_of_samples(published):
    evaluated = []
    nets = (published.head.coarse, published.head.fine)
    hooks = [net.register_forward_hook(lambda net, inputs, out: evaluated.append(len(inputs[0]))) for net in nets]
    with torch.no_grad():
        published.render_head(torch.eye(4), torch.full((1, 2), 16.0), torch.zeros(64))
    for hook in hooks:
        hook.remove()
    assert evaluated == [64 - 1, 64 + 128 - 1]  # the last sample is the far plane


class Slab(NerfMlp):
    """Density 3 per metre and one colour everywhere."""

    def __init__(self):
        torch.nn.Module.__init__(self)

    def forward(self, points, views, condition):
        return torch.full((len(points),), 3.0), torch.tensor([0.2, 0.4, 0.6]).expand(len(points), 3)


def test_the_far_plane_is_opaque_and_has_the_colour_behind():
    depths = torch.linspace(1.0, 2.0, 11).expand(4, 11)
    directions = torch.tensor([0.0, 0.6, -1.0]).expand(4, 3)
    output, _ = render_rays(Slab(), torch.zeros(4, 3), directions, depths, torch.zeros(4, 1))
    transmittance = math.exp(-3.0 * math.sqrt(1.36))  # one metre of depth, on a ray that is longer than deep
    assert torch.allclose(output.transmittance, torch.full((4,), transmittance), rtol=1e-4)
    plate = torch.rand(4, 3)
    expected = (1 - transmittance) * torch.tensor([0.2, 0.4, 0.6]) + transmittance * plate
    assert torch.allclose(over(output, plate), expected, atol=1e-5)


def test_the_far_plane_equals_a_last_sample_of_the_plates_colour():
    """The sum as the paper writes it, with alpha and an endless last interval."""
    torch.manual_seed(1)
    field = NerfMlp(SMALL, 8)
    torch.nn.init.constant_(field.density.bias, 4.0)
    depths = torch.linspace(0.7, 1.3, 20).expand(5, 20)
    origins, code, plate = torch.rand(5, 3), torch.rand(5, 8), torch.rand(5, 3)
    directions = torch.tensor([0.1, 0.0, -1.0]).expand(5, 3)
    points = origins[:, None] + depths[..., None] * directions[:, None]
    views = torch.nn.functional.normalize(directions, dim=-1)[:, None].expand(5, 20, 3)
    raw, color = field(points.reshape(-1, 3), views.reshape(-1, 3), code[:, None].expand(5, 20, 8).reshape(-1, 8))
    color = color.view(5, 20, 3).clone()
    color[:, -1] = plate
    delta = torch.cat([depths.diff(dim=-1), torch.full((5, 1), 1e10)], -1) * directions.norm(dim=-1, keepdim=True)
    alpha = 1 - torch.exp(-(raw.view(5, 20).relu() + 1e-6) * delta)
    light, picture = torch.ones(5), torch.zeros(5, 3)
    for i in range(20):
        picture += (light * alpha[:, i])[:, None] * color[:, i]
        light = light * (1 - alpha[:, i])
    assert torch.allclose(over(render_rays(field, origins, directions, depths, code)[0], plate), picture, atol=1e-5)


def test_the_fine_network_is_evaluated_where_the_coarse_one_found_matter():
    torch.manual_seed(0)
    field, depths = CoarseFineField(SMALL, 8), []

    def wall(points, views, condition):
        return torch.where(points[:, 2] < -0.5, 200.0, -1.0), torch.zeros(len(points), 3)

    field.coarse.forward = wall
    field.fine.register_forward_hook(lambda net, inputs, out: depths.append(inputs[0][:, 2]))
    with torch.no_grad():
        field(torch.zeros(1, 3), torch.tensor([[0.0, 0.0, -1.0]]), (0.0, 1.0), torch.zeros(1, 8))
    assert int(((depths[0] < -0.42) & (depths[0] > -0.72)).sum()) >= SMALL.fine


def test_a_window_becomes_a_code_in_four_halvings():
    net = AudioNet(29, 64)
    convolutions = [layer for layer in net.layers if isinstance(layer, torch.nn.Conv1d)]
    lengths, hidden = [], torch.rand(1, 29, 16)
    for layer in convolutions:
        hidden = layer(hidden)
        lengths.append(hidden.shape[-1])
    assert lengths == [8, 4, 2, 1] and [layer.out_channels for layer in convolutions] == [32, 32, 64, 64]
    assert net(torch.rand(3, 16, 29)).shape == (3, 64)


def test_attention_weights_eight_neighbours():
    torch.manual_seed(0)
    attention, codes = AudioAttNet(8), torch.randn(5, BEFORE + AFTER, 8)
    weights = attention.weights(codes)
    assert weights.shape == (5, 8) and (weights >= 0).all()
    assert torch.allclose(weights.sum(-1), torch.ones(5))
    assert torch.allclose(attention(codes)[2], weights[2] @ codes[2], atol=1e-6)
    same = torch.ones(1, 8, 8) * 0.7
    assert torch.allclose(attention(same), same[:, 0])


def test_audio_codes_are_averaged_over_neighbours_in_time_once_attention_is_on():
    torch.manual_seed(0)
    model = AdNerf(SMALL, GEOMETRY, 5).requires_grad_(False)
    features, frames = torch.randn(60, 5), torch.tensor([0, 10, 29])
    assert torch.equal(model.encode_audio(features, frames), model.audio(windows(features, frames)))
    model.attends.fill_(True)
    neighbours = model.audio(windows(features, torch.arange(6, 14)))
    expected = model.attention(neighbours[None])[0]
    assert torch.allclose(model.encode_audio(features, frames)[1], expected, atol=1e-6)


def test_the_torsos_camera_stands_still_and_its_condition_moves():
    model = AdNerf(PUBLISHED, GEOMETRY, 29)
    pose, code = torch.eye(4), torch.rand(64)
    pose[2, 3] = 9.0
    condition = model.torso_condition(code, pose)
    assert condition.shape == (TORSO_CONDITION,)
    assert torch.equal(condition[:64], code) and torch.equal(condition[64:67], torch.zeros(3))
    assert torch.allclose(condition[64 + 21 : 64 + 24], torch.tensor([0.0, 0.0, -9.0 * INTEROCULAR_M]))
    inputs_seen = []
    model.torso.coarse.register_forward_hook(lambda net, inputs, out: inputs_seen.append(inputs))
    with torch.no_grad():
        for distance in (9.0, 11.0):
            pose[2, 3] = distance
            model.render_torso(pose, torch.full((1, 2), 16.0), code)
    assert torch.equal(inputs_seen[0][0], inputs_seen[1][0])
    assert not torch.equal(inputs_seen[0][2], inputs_seen[1][2])


def test_a_frame_rendered_in_chunks_is_torso_over_head_over_background():
    torch.manual_seed(0)
    model = AdNerf(SMALL.model_copy(update={"chunk": 7}), GEOMETRY, 5).requires_grad_(False)
    for field in (model.head, model.torso):
        torch.nn.init.constant_(field.fine.density.bias, 2.0)
    pose, code, pixels, plate = torch.eye(4), torch.rand(8), torch.rand(20, 2) * 32, torch.rand(20, 3)
    pose[2, 3] = 10.0
    frame = FrameConditions(pose[None], torch.zeros(1, 4), torch.zeros(1, 5), code[None])
    color, transmittance = render_frame(model, frame, pixels, plate)
    head, torso = model.render_head(pose, pixels, code).fine, model.render_torso(pose, pixels, code).fine
    assert torch.allclose(color, torso.color + torso.transmittance[:, None] * over(head, plate), atol=1e-5)
    assert torch.allclose(transmittance, torso.transmittance * head.transmittance, atol=1e-5)
    assert 0.05 < float(transmittance.mean()) < 0.95


def test_a_changed_view_turns_the_head_against_the_torso():
    torch.manual_seed(0)
    model = AdNerf(SMALL, GEOMETRY, 5).requires_grad_(False)
    pose, torso_pose, code = torch.eye(4), torch.eye(4), torch.rand(8)
    pose[2, 3], torso_pose[2, 3] = 10.0, 11.0
    pixels, plate = torch.rand(5, 2) * 32, torch.rand(5, 3)
    frame = FrameConditions(pose[None], torch.zeros(1, 4), torch.zeros(1, 5), code[None], torso_pose[None])
    outputs = model(frame, pixels, plate)
    assert torch.equal(outputs.head.color, model.render_head(pose, pixels, code).fine.color)
    assert torch.equal(outputs.torso.color, model.render_torso(torso_pose, pixels, code).fine.color)
