"""TalkingHead: the two fields and their composition."""

import pytest
import torch

from adnerf_core.audio.features import streams
from adnerf_core.cameras.cameras import Camera
from adnerf_core.config import FieldConfig, MarchConfig
from adnerf_core.models.base import FrameConditions, SceneGeometry
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.rendering.volume_rendering import over

GEOMETRY = SceneGeometry(
    camera=Camera(32, 32, 64.0, (16.0, 16.0)),
    box_center=(0.0, 0.0, -0.5),
    box_half=(1.0, 1.5, 1.2),
    nose=0.0,
    nose_soft=0.02,
    hair=(0.0, 0.0),
    pose_mean=(0.0, 0.0, 0.0, 0.0, 0.0, -10.0),
    pose_std=(0.1,) * 6,
    mouth=(0.0, -0.4, 0.4, 0.3),
)


def make_model() -> TalkingHead:
    """An untrained model that is dense enough to show something."""
    torch.manual_seed(0)
    model = TalkingHead(
        FieldConfig(planes=(8, 16), torso_planes=(8, 16), mouth_planes=3, mouth_resolution=8),
        MarchConfig(grid=16),
        GEOMETRY,
        streams("mel", 80),
    )
    with torch.no_grad():
        model.head.second.bias[0] = 5.0
        model.torso.decode[-1].bias[3] = 0.0
    model.grid.update(lambda points: torch.ones(len(points)), (0, 1), torch.Generator(), reset=True)
    return model.requires_grad_(False)


@pytest.fixture
def model() -> TalkingHead:
    return make_model()


def conditions(*distances: float) -> FrameConditions:
    """Frames of a frontal head at some distances, with different mouths."""
    poses = torch.eye(4).repeat(len(distances), 1, 1)
    poses[:, 2, 3] = torch.tensor(distances)
    codes = torch.arange(len(distances))[:, None].expand(-1, 6).float()
    return FrameConditions(poses, torch.zeros(len(distances), 4), torch.zeros(len(distances), 5), codes)


def test_the_picture_is_torso_over_head_over_background(model):
    pixels = GEOMETRY.camera.pixel_grid()
    background = torch.rand(len(pixels), 3)
    outputs = model(conditions(10.0), pixels, background)
    assert torch.allclose(outputs.color, over(outputs.torso, over(outputs.head, background)))
    assert torch.allclose(outputs.transmittance, outputs.torso.transmittance * outputs.head.transmittance)
    assert 0.1 < float(outputs.head.transmittance.mean()) < 0.99
    assert 0.1 < float(outputs.torso.transmittance.mean()) < 0.99


def test_rays_of_several_frames_are_rendered_each_under_its_own_conditions(model):
    pixels = GEOMETRY.camera.pixel_grid()
    background, frame_index = torch.rand(len(pixels), 3), torch.arange(len(pixels)) % 2
    together = model(conditions(10.0, 12.0), pixels, background, frame_index)
    both = conditions(10.0, 12.0)
    for k in (0, 1):
        one = FrameConditions(both.poses[[k]], both.torso_motion[[k]], both.upper_face[[k]], both.codes[[k]])
        alone, rays = model(one, pixels, background), frame_index == k
        assert torch.allclose(together.color[rays], alone.color[rays], atol=1e-4)


def test_a_turned_head_is_rendered_with_its_neck_on_the_body(model):
    frame = conditions(10.0)
    turned = FrameConditions(frame.poses, frame.torso_motion, frame.upper_face, frame.codes, conditions(10.5).poses)
    assert model.deformation(frame) is None
    deform = model.deformation(turned)
    face, neck = torch.tensor([[0.0, 0.3, 0.5]]), torch.tensor([[0.0, -0.95 - 0.35, 0.0]])
    assert torch.allclose(deform(face), face)
    assert not torch.allclose(deform(neck.clamp(-1, 1)), neck.clamp(-1, 1))
    pixels = GEOMETRY.camera.pixel_grid()
    background = torch.rand(len(pixels), 3)
    assert not torch.allclose(model(frame, pixels, background).color, model(turned, pixels, background).color)


def test_the_torso_is_rendered_only_where_the_footage_shows_it(model):
    region = torch.zeros(64, 64, dtype=torch.bool)
    region[32:] = True
    model.set_torso_region(region)
    pixels = GEOMETRY.camera.pixel_grid()
    torso = model.render_torso(pixels, torch.zeros(len(pixels), 4), torch.zeros(len(pixels), 6))
    transmittance = torso.transmittance.reshape(32, 32)
    assert (transmittance[:15] == 1).all() and (transmittance[17:] < 1).all()


def test_geometry_survives_json():
    assert SceneGeometry.from_json(GEOMETRY.to_json()) == GEOMETRY
