"""Refinement of the torso's motion: it finds the motion of pictures that the field itself has rendered."""

import torch

from adnerf_core.rendering.volume_rendering import over
from adnerf_core.training.pose_refinement import AlignmentFrames
from adnerf_core.training.torso_refinement import refine_torso
from tests.adnerf_core.models.test_talking_head import GEOMETRY, conditions, make_model

FRAMES, SIZE = 4, GEOMETRY.camera.width
WRONG = torch.tensor([0.03, -0.02, 0.0, 0.0])
"""An error of the tracked motion: half a pixel."""


def test_a_torso_that_was_tracked_wrongly_is_found_again():
    model = make_model()
    with torch.no_grad():
        for level in model.torso.planes.levels:
            level.mul_(20)  # untrained planes have hardly any texture
    poses, background = conditions(*[10.0] * FRAMES).poses, torch.rand(SIZE, SIZE, 3)
    motion = torch.zeros(FRAMES, 4)
    pixels = GEOMETRY.camera.pixel_grid()
    torso = model.render_torso(pixels, motion[:1], model.standardized_pose(poses[:1]))
    picture = (over(torso, background.view(-1, 3)) * 255).round().byte().view(1, SIZE, SIZE, 3)
    masks = torch.tensor([0, 255], dtype=torch.uint8).expand(FRAMES, SIZE, SIZE, 2)
    unused = torch.zeros(FRAMES, 4), torch.zeros(FRAMES, 11)
    images = picture.repeat(FRAMES, 1, 1, 1)
    alignment = AlignmentFrames(torch.arange(FRAMES), images, masks, *unused, background)
    generator = torch.Generator().manual_seed(0)
    delta = refine_torso(model, alignment, poses, motion + WRONG, torch.ones(FRAMES, 3), generator)
    assert (delta + WRONG).abs().max() < 0.3 * WRONG.abs().max()
