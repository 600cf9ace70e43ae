"""The optimizer of the fast model: which parameter has which rate, and the schedule."""

import pytest
import torch

from adnerf_core.audio.features import streams
from adnerf_core.config import PRESETS
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.training.optimizers import (
    NETS_RATE,
    PLANES_RATE,
    average_weights,
    learning_rate,
    make_optimizer,
    use_average,
)
from tests.adnerf_core.models.test_talking_head import GEOMETRY

PLANES = [
    "head.front.levels.0",
    "head.front.levels.1",
    "head.sides.levels.0",
    "torso.planes.levels.0",
    "torso.planes.levels.1",
    "head.mouth.planes",
]


def test_feature_planes_have_a_rate_of_their_own_and_the_warp_has_that_of_the_nets():
    config = PRESETS["standard"]
    model = TalkingHead(config.field, config.march, GEOMETRY, streams("mel", 80)).requires_grad_(False)
    planes, nets = make_optimizer((model.head, model.decoder, model.torso)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert (planes["initial_lr"], nets["initial_lr"]) == (PLANES_RATE, NETS_RATE)
    assert [names[id(parameter)] for parameter in planes["params"]] == PLANES
    others = [name for name in names.values() if not name.startswith("audio.") and name not in PLANES]
    assert [names[id(parameter)] for parameter in nets["params"]] == others and {
        "head.warp",
        "head.mouth.direction",
    } < set(others)
    assert not any(parameter.requires_grad for parameter in model.audio.parameters())


def test_the_rate_warms_up_and_falls_to_a_hundredth():
    assert learning_rate(0, 1000) == pytest.approx(1 / 30)
    assert learning_rate(29, 1000) > 0.99
    assert learning_rate(1000, 1000) == pytest.approx(0.01)


def test_the_model_is_the_mean_of_the_last_fifth_of_the_steps():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for step in range(10):
        weight.grad = torch.tensor([-1.0, 2.0])
        optimizer.step()
        average_weights(optimizer, step, 10)
    assert weight.tolist() == [10, -20]
    for _ in range(2):  # interrupted and resumed
        use_average(optimizer)
        assert weight.tolist() == [9.5, -19]
