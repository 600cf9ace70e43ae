"""The two fields and their composition."""

import math

import pytest
import torch

from adnerf_core.cameras.cameras import Camera, cast_rays, pose_angles
from adnerf_core.config import FieldConfig, MarchConfig, ViewChange
from adnerf_core.fields.head_field import HeadField
from adnerf_core.fields.torso_field import TorsoField, inverse_similarity
from adnerf_core.models.base import SceneGeometry
from adnerf_core.models.talking_head import FrameConditions, TalkingHead
from adnerf_core.rendering.volume_rendering import over
from adnerf_core.synthesis.render import pixel_grid_for_view
from adnerf_core.synthesis.subject import load_subject

GEOMETRY = SceneGeometry(
    camera=Camera(32, 32, 64.0, (16.0, 16.0)),
    box_center=(0.0, 0.0, -0.5),
    box_half=(1.0, 1.5, 1.2),
    nose=0.0,
    nose_soft=0.02,
    hair=(0.0, 0.0),
    pose_mean=(0.0, 0.0, 0.0, 0.0, 0.0, -10.0),
    pose_std=(0.1,) * 6,
)
SMALL = {"planes": (8, 16), "sides": 8, "channels": 4, "hidden": 16}


@pytest.fixture
def portrait() -> TalkingHead:
    torch.manual_seed(0)
    made = TalkingHead(FieldConfig(planes=(8, 16), torso_planes=(8, 16)), MarchConfig(grid=16), GEOMETRY, (80,))
    with torch.no_grad():
        made.head.second.bias[0] = 5.0  # dense, so that there is something to see
        made.torso.decode[-1].bias[3] = 0.0
    made.grid.refresh(lambda points: torch.ones(len(points)), (0, 1), torch.Generator(), forget=True)
    return made.requires_grad_(False)


def moments(lips: torch.Tensor | None = None) -> FrameConditions:
    pose = torch.eye(4)
    pose[2, 3] = 10.0
    return FrameConditions(
        pose[None], torch.zeros(1, 4), torch.zeros(1, 2), lips=torch.zeros(1, 6) if lips is None else lips
    )


def test_the_picture_is_torso_over_head_over_background(portrait):
    pixels = GEOMETRY.camera.pixel_grid()
    background = torch.rand(len(pixels), 3)
    seen = portrait(moments(), torch.zeros(len(pixels), dtype=torch.long), pixels, background)
    assert torch.allclose(seen.color, over(seen.torso, over(seen.head, background)))
    assert 0.1 < float(seen.head.transmittance.mean()) < 0.99
    assert 0.1 < float(seen.torso.transmittance.mean()) < 0.99


def test_sound_reaches_the_picture_through_the_code(portrait):
    pixels = GEOMETRY.camera.pixel_grid()
    background = torch.zeros(len(pixels), 3)
    at = torch.zeros(len(pixels), dtype=torch.long)
    windows = torch.rand(1, 16, 80)
    now = moments()
    heard = portrait(FrameConditions(now.poses, now.torso, now.upper, windows=windows), at, pixels, background)
    known = portrait(
        FrameConditions(now.poses, now.torso, now.upper, lips=portrait.audio(windows)), at, pixels, background
    )
    assert torch.allclose(heard.color, known.color)


def test_the_sound_acts_below_the_nose_and_the_eyes_above_it():
    torch.manual_seed(0)
    field = HeadField(FieldConfig(ray_features=8, **SMALL), nose=0.0, soft=0.02)
    points = torch.rand(200, 3) * 2 - 1
    upper, lower = points[:, 1] > 0.3, points[:, 1] < -0.3
    rest = torch.zeros(1, 8)
    speaking, blinking = rest.clone(), rest.clone()
    speaking[:, :6], blinking[:, 6:] = 2.0, 2.0
    still = torch.cat([field(points, rest)[0][None], field(points, rest)[1]])
    spoken = torch.cat([field(points, speaking)[0][None], field(points, speaking)[1]])
    blinked = torch.cat([field(points, blinking)[0][None], field(points, blinking)[1]])
    assert torch.allclose(still[:, upper], spoken[:, upper], atol=1e-4)
    assert torch.allclose(still[:, lower], blinked[:, lower], atol=1e-4)
    assert (still - spoken)[:, lower].abs().mean() > 0.05
    assert (still - blinked)[:, upper].abs().mean() > 0.01


def painted_and_marched(portrait, now, background, **options):
    """The same moment, as `paint` gives it and as the fields do when every ray is marched as in training."""
    pixels = portrait.geometry.camera.pixel_grid()
    seen = portrait(now, torch.zeros(len(pixels), dtype=torch.long), pixels, background)
    condition = portrait.condition(now.lips, now.upper)[0]
    painted = portrait.render_pixels(now.poses[0], now.torso[0], condition, background, pixels, **options)
    return painted, (seen.color, seen.torso.transmittance * seen.head.transmittance)


def test_painting_gives_what_the_fields_give(portrait):
    portrait.march = portrait.march.model_copy(update={"rim": portrait.march.samples})
    background = torch.rand(32 * 32, 3)
    (color, left), (true_color, true_left) = painted_and_marched(portrait, moments(), background, chunk=100)
    # Fog everywhere: no block is simple, so every ray is marched as in training, but where hardly anything is.
    assert (color - true_color).abs().max() < 0.03 and (left - true_left).abs().max() < 0.03


def test_scouts_leave_a_surface_as_it_is(toy_run):
    subject = load_subject(toy_run)
    now = FrameConditions(subject.poses[:1], subject.torso[:1], subject.upper[:1], lips=torch.zeros(1, 6))
    (color, _), (true_color, _) = painted_and_marched(subject.portrait, now, subject.background.reshape(-1, 3))
    assert -10 * torch.log10(((color - true_color) ** 2).mean()) > 32


def test_no_ray_is_left_out_that_could_meet_the_head(portrait):
    blocks = portrait.visible_blocks(moments().poses[0])
    rays = cast_rays(GEOMETRY.camera, moments().poses.expand(1024, 4, 4), GEOMETRY.camera.pixel_grid())
    left = portrait.render_head(rays, torch.zeros(1, 8)).transmittance.reshape(32, 32)
    covered = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert (left[~covered] > 0.97).all()
    assert (left < 0.9).any()


@pytest.mark.parametrize(("size", "edge"), [(64, 4), (32, 4), (16, 8), (8, 16)])
def test_blocks_hold_sixteen_pixels_of_the_picture_at_least(portrait, size, edge):
    pixels = pixel_grid_for_view(portrait, ViewChange(), size)
    assert portrait.block_size(pixels) == edge
    shifted = pixel_grid_for_view(portrait, ViewChange(x=0.3, y=-0.2), size)
    assert portrait.block_size(shifted) == edge
    assert portrait.block_size(shifted - 1000) == 4, "nothing is in the picture"


def test_the_torso_is_only_where_it_was_seen(portrait):
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[32:] = True
    portrait.set_torso_region(region)
    pixels = GEOMETRY.camera.pixel_grid()
    left = portrait.render_torso(
        pixels, torch.zeros(len(pixels), 4), torch.zeros(len(pixels), 6)
    ).transmittance.reshape(32, 32)
    assert (left[:15] == 1).all() and (left[17:] < 1).all()


def test_the_torso_field_starts_unwarped_and_follows_the_pose_when_it_has_learnt_to():
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


def test_pose_angles_are_those_of_the_head():
    yaw = torch.tensor(0.3)
    head = torch.eye(4)
    head[0, 0], head[0, 2], head[2, 0], head[2, 2] = yaw.cos(), yaw.sin(), -yaw.sin(), yaw.cos()
    head[:3, 3] = torch.tensor([0.5, -0.2, -9.0])
    angles = pose_angles(torch.linalg.inv(head)[None])[0]
    assert torch.allclose(angles, torch.tensor([0.0, 0.3, 0.0, 0.5, -0.2, -9.0]), atol=1e-5)


def test_geometry_survives_json():
    assert SceneGeometry.from_json(GEOMETRY.to_json()) == GEOMETRY


def test_the_torsos_motion_is_undone():
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(20, 2, generator=generator) * 2 - 1
    x, y, angle, scale = 0.1, -0.2, 0.3, 1.1
    rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    seen = scale * places @ rotation.T + torch.tensor([x, y])
    motion = torch.tensor([x, y, angle, math.log(scale)]).expand(20, 4)
    assert torch.allclose(inverse_similarity(motion, seen), places, atol=1e-6)


def test_the_condition_bends_what_it_may_and_nothing_else():
    from adnerf_core.fields.head_field import HeadField

    torch.manual_seed(0)
    field = HeadField(FieldConfig(ray_features=4, lip_code=2, **SMALL), nose=0.0, soft=0.02)
    torch.nn.init.zeros_(field.first.weight[:, -4:])
    below, above = torch.tensor([[0.1, -0.5, 0.2]]), torch.tensor([[0.1, 0.5, 0.2]])
    lips = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    with torch.no_grad():
        field.warp[:, 0] = 0.3  # the first number of the lips' code moves everything by 0.3 in x
        shifted = torch.tensor([[0.3, 0.0, 0.0]])
        still = torch.zeros(1, 4)
        assert torch.allclose(field(below, lips)[1], field(below + shifted, still)[1], atol=1e-5)
        assert torch.allclose(field(above, lips)[1], field(above, still)[1], atol=1e-5)


def test_each_point_is_looked_up_under_the_condition_of_its_own_moment():
    torch.manual_seed(0)
    field = HeadField(FieldConfig(ray_features=4, lip_code=2, **SMALL), nose=0.0, soft=0.02)
    torch.nn.init.normal_(field.warp, std=0.1)
    points, moment = torch.rand(300, 3) * 2.2 - 1.1, torch.arange(3).repeat(100)
    conditions = torch.randn(3, 4)
    density, features = field(points, conditions, moment)
    for i in range(3):
        alone, those = field(points[moment == i], conditions[i : i + 1]), moment == i
        assert torch.allclose(density[those], alone[0], atol=1e-4)
        assert torch.allclose(features[:, those], alone[1], atol=1e-4)
