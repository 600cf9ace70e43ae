"""NerfMlp and its frequency encoding."""

import math

import torch

from adnerf_core.config import PaperConfig
from adnerf_core.fields.frequency_encoding import frequency_encode, frequency_encoding_dim
from adnerf_core.fields.nerf_mlp import NerfMlp

SMALL = PaperConfig(layers=4, width=16, audio_code=8, coarse=8, fine=8)


def test_the_encoding_is_the_value_and_its_waves():
    encoded = frequency_encode(torch.tensor([[0.5, -1.0]]), 2)[0]
    expected = [0.5, -1.0]
    for band in (1, 2):
        expected += [math.sin(band * 0.5), math.sin(-band), math.cos(band * 0.5), math.cos(-band)]
    assert torch.allclose(encoded, torch.tensor(expected), atol=1e-6)
    assert (frequency_encoding_dim(3, 10), frequency_encoding_dim(3, 4), frequency_encoding_dim(3, 3)) == (63, 27, 21)


def test_density_depends_on_the_condition_and_not_on_the_direction():
    torch.manual_seed(0)
    field = NerfMlp(SMALL, 8)
    points, views, code = (
        torch.rand(50, 3),
        torch.nn.functional.normalize(torch.randn(50, 3), dim=-1),
        torch.rand(50, 8),
    )
    density, color = field(points, views, code)
    turned, other_color = field(points, -views, code)
    assert torch.equal(density, turned) and not torch.allclose(color, other_color)
    assert (density - field(points, views, code + 1)[0]).abs().min() > 0
    assert (color >= 0).all() and (color <= 1).all()
