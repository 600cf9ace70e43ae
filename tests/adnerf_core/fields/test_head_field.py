"""HeadField: what the condition may change, and where."""

import torch

from adnerf_core.config import FieldConfig
from adnerf_core.fields.head_field import HeadField

SMALL = {"planes": (8, 16), "sides": 8, "channels": 4, "hidden": 16}


def test_the_sound_acts_below_the_nose_and_the_eyes_above_it():
    torch.manual_seed(0)
    field = HeadField(FieldConfig(ray_features=8, **SMALL), nose=0.0, soft=0.02)
    points = torch.rand(200, 3) * 2 - 1
    upper, lower = points[:, 1] > 0.3, points[:, 1] < -0.3
    rest = torch.zeros(1, 11)
    speaking, blinking = rest.clone(), rest.clone()
    speaking[:, :6], blinking[:, 6:] = 2.0, 2.0
    still = torch.cat([field(points, rest)[0][None], field(points, rest)[1]])
    spoken = torch.cat([field(points, speaking)[0][None], field(points, speaking)[1]])
    blinked = torch.cat([field(points, blinking)[0][None], field(points, blinking)[1]])
    assert torch.allclose(still[:, upper], spoken[:, upper], atol=1e-4)
    assert torch.allclose(still[:, lower], blinked[:, lower], atol=1e-4)
    assert (still - spoken)[:, lower].abs().mean() > 0.05
    assert (still - blinked)[:, upper].abs().mean() > 0.01


def test_a_number_of_the_condition_displaces_only_the_points_on_its_own_side():
    torch.manual_seed(0)
    field = HeadField(FieldConfig(ray_features=4, lip_code=2, **SMALL), nose=0.0, soft=0.02)
    torch.nn.init.zeros_(field.first.weight[:, -7:])
    below, above = torch.tensor([[0.1, -0.5, 0.2]]), torch.tensor([[0.1, 0.5, 0.2]])
    lips = torch.tensor([[1.0] + [0.0] * 6])
    with torch.no_grad():
        field.warp[:, 0] = 0.3  # the first number of the lips' code moves everything by 0.3 in x
        shifted = torch.tensor([[0.3, 0.0, 0.0]])
        still = torch.zeros(1, 7)
        assert torch.allclose(field(below, lips)[1], field(below + shifted, still)[1], atol=1e-5)
        assert torch.allclose(field(above, lips)[1], field(above, still)[1], atol=1e-5)


def test_lids_move_what_is_in_the_box_of_the_eyes_and_brows_all_that_is_above_the_nose():
    torch.manual_seed(0)
    field = HeadField(FieldConfig(ray_features=8, **SMALL), nose=0.0, soft=0.02, eyes=(0.0, 0.3, 0.5, 0.2))
    torch.nn.init.normal_(field.warp, std=0.1)
    points = torch.rand(400, 3) * 2 - 1
    above = points[:, 1] > 0.1
    outside = (points[:, 0].abs() > 0.5) | (points[:, 1] > 0.5)
    open_eyes, blinking, frowning = torch.zeros(3, 11).unbind()
    open_eyes[6:8], blinking[6:8], frowning[6:9] = 0.7, -1.0, torch.tensor([0.7, 0.7, -1.0])
    still, blinked, frowned = (field(points, each[None])[1] for each in (open_eyes, blinking, frowning))
    assert torch.equal(still[:, outside], blinked[:, outside])
    assert (still - blinked)[:, above & ~outside].abs().mean() > 0.01
    assert (still - frowned)[:, above & outside].abs().mean() > 0.01


def test_each_point_is_evaluated_under_the_condition_of_its_own_frame():
    torch.manual_seed(0)
    config = FieldConfig(ray_features=4, lip_code=2, mouth_planes=3, mouth_resolution=8, **SMALL)
    field = HeadField(config, nose=0.0, soft=0.02, mouth=(0.1, -0.4, 0.5, 0.4), eyes=(0.0, 0.3, 0.6, 0.4))
    torch.nn.init.normal_(field.warp, std=0.1)
    points, frame_index = torch.rand(300, 3) * 2.2 - 1.1, torch.arange(3).repeat(100)
    conditions = torch.randn(3, 7)
    density, features = field(points, conditions, frame_index)
    for i in range(3):
        alone, those = field(points[frame_index == i], conditions[i : i + 1]), frame_index == i
        assert torch.allclose(density[those], alone[0], atol=1e-4)
        assert torch.allclose(features[:, those], alone[1], atol=1e-4)
