"""Subjects of before, whose upper face was two numbers, look as they did."""

import pytest
import torch

from adnerf_core.config import FieldConfig
from adnerf_core.fields import head_field
from adnerf_core.synthesis.older_subjects import widen_upper_face

CONFIG = FieldConfig(planes=(8, 16), sides=8, channels=4, hidden=16, ray_features=8)


def test_an_older_head_shows_the_same_under_the_five_numbers(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(head_field, "UPPER_FACE", 2)
        older = head_field.HeadField(CONFIG, nose=0.0, soft=0.02)
        torch.nn.init.normal_(older.warp, std=0.1)
        points, code, upper = torch.rand(200, 3) * 2 - 1, torch.randn(1, 6), torch.randn(1, 2)
        before = torch.cat([older(points, torch.cat([code, upper], -1))[0][None]])
    weights = {f"head.{name}": value for name, value in older.state_dict().items()}
    weights, wide = widen_upper_face(weights, upper)
    head = head_field.HeadField(CONFIG, nose=0.0, soft=0.02)
    head.load_state_dict({name.removeprefix("head."): value for name, value in weights.items()})
    assert wide.shape == (1, 5) and torch.equal(wide[:, 0], wide[:, 1]) and (wide[:, 3:] == 0).all()
    assert torch.allclose(head(points, torch.cat([code, wide], -1))[0][None], before, atol=1e-4)


def test_the_paper_s_networks_have_no_upper_face():
    weights = {"audio.weight": torch.ones(2)}
    assert widen_upper_face(weights, torch.zeros(3, 2))[0] == weights
