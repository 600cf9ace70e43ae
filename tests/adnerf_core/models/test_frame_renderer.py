"""Frames rendered with few samples, against every ray rendered as in training."""

import pytest
import torch

from adnerf_core.cameras.cameras import cast_rays
from adnerf_core.config import ViewChange
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import BlockGrid, render_frame, visible_blocks
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.synthesis.render import pixel_grid_for_view
from adnerf_core.synthesis.subject import load_subject
from tests.adnerf_core.models.test_talking_head import GEOMETRY, conditions, make_model


@pytest.fixture
def model() -> TalkingHead:
    return make_model()


def test_a_frame_shows_what_the_fields_show(model):
    model.march = model.march.model_copy(update={"samples_pixel": model.march.samples})
    model.rays_per_chunk = 100
    frame, pixels, background = conditions(10.0), GEOMETRY.camera.pixel_grid(), torch.rand(32 * 32, 3)
    rendered, outputs = render_frame(model, frame, pixels, background), model(frame, pixels, background)
    # All rays but the emptiest are rendered, with as many samples as in training.
    assert (rendered.color - outputs.color).abs().max() < 0.03
    assert (rendered.transmittance - outputs.transmittance).abs().max() < 0.03


def test_proposals_hardly_change_a_surface(toy_run):
    subject = load_subject(toy_run)
    frame = FrameConditions(subject.poses[:1], subject.torso[:1], subject.upper[:1], torch.zeros(1, 6))
    pixels, background = subject.model.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    rendered = render_frame(subject.model, frame, pixels, background)
    outputs = subject.model(frame, pixels, background)
    assert -10 * torch.log10(((rendered.color - outputs.color) ** 2).mean()) > 32


def test_every_ray_that_could_meet_the_head_lies_in_a_visible_block(model):
    poses = conditions(10.0).poses
    blocks = visible_blocks(model, poses[0], BlockGrid(GEOMETRY.camera, 4, (0, 0), (7, 7)))
    rays = cast_rays(GEOMETRY.camera, poses.expand(1024, 4, 4), GEOMETRY.camera.pixel_grid())
    transmittance = model.render_head(rays, torch.zeros(1, 11)).transmittance.reshape(32, 32)
    covered = blocks.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert (transmittance[~covered] > 0.97).all()
    assert (transmittance < 0.9).any()


@pytest.mark.parametrize(("size", "block_px"), [(64, 4), (32, 4), (16, 8), (8, 16)])
def test_the_side_of_a_block_follows_the_rendered_pixels(model, size, block_px):
    def chosen(pixels):
        return BlockGrid.for_pixels(GEOMETRY.camera, pixels).block_px

    pixels = pixel_grid_for_view(model, ViewChange(), size)
    assert chosen(pixels) == block_px
    if size > 8:
        every_other = pixels.view(size, size, 2)[::2, ::2].reshape(-1, 2)
        assert BlockGrid.for_pixels(GEOMETRY.camera, every_other, spacing=2).block_px == block_px
    shifted = pixel_grid_for_view(model, ViewChange(x=0.3, y=-0.2), size)
    assert chosen(shifted) == pytest.approx(block_px, rel=0.15)
    assert chosen(shifted - 1000) == 4, "no pixel lies in the image"


def test_a_part_of_the_picture_looks_as_in_the_whole(toy_run):
    """Only the part is divided into blocks; nothing else depends on what is rendered besides."""
    subject = load_subject(toy_run)
    frame = FrameConditions(subject.poses[:1], subject.torso[:1], subject.upper[:1], torch.zeros(1, 6))
    pixels, background = subject.model.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    part = ((pixels > 16) & (pixels < 36)).all(-1)
    whole = render_frame(subject.model, frame, pixels, background).color[part]
    assert torch.allclose(render_frame(subject.model, frame, pixels[part], background[part]).color, whole, atol=1e-5)


def test_the_number_of_rays_at_once_does_not_change_a_frame(toy_run):
    subject = load_subject(toy_run)
    frame = FrameConditions(subject.poses[:1], subject.torso[:1], subject.upper[:1], torch.zeros(1, 6))
    pixels, background = subject.model.geometry.camera.pixel_grid(), subject.background.reshape(-1, 3)
    whole = render_frame(subject.model, frame, pixels, background).color
    subject.model.rays_per_chunk = 50
    assert torch.allclose(render_frame(subject.model, frame, pixels, background).color, whole, atol=1e-5)
