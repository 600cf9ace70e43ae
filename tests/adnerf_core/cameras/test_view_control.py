"""Changed views: which way the head turns, how far, and what follows it."""

import pytest
import torch

from adnerf_core.cameras.cameras import project
from adnerf_core.cameras.view_control import (
    EASE_DEG,
    MARGINS_DEG,
    PIVOT,
    TORSO_FOLLOW,
    AppliedView,
    canonical_frame,
    head_angles,
    rotate_head,
    view_limits,
)
from adnerf_core.config import ViewChange
from adnerf_core.models.base import FrameConditions
from adnerf_core.models.frame_renderer import render_frame
from adnerf_core.rendering.head_deformation import BACK_Z, CHIN_Y, WIDEST_Z, close_skull, skin_neck_to_body
from adnerf_core.synthesis.render import applied_view
from adnerf_core.synthesis.subject import load_subject


@pytest.fixture
def subject(toy_run):
    return load_subject(toy_run)


def by(yaw=0.0, pitch=0.0, roll=0.0):
    return torch.tensor([yaw, pitch, roll], dtype=torch.float32)


def track(yaw, pitch=None, roll=None):
    """Poses of a head at these angles (degrees), ten units away."""
    pose = torch.eye(4)
    pose[2, 3] = 10
    none = [0.0] * len(yaw)
    return torch.stack(
        [rotate_head(pose, by(*angles)) for angles in zip(yaw, pitch or none, roll or none, strict=True)]
    )


def apply(poses, change):
    return AppliedView(change, view_limits(poses), poses[canonical_frame(poses)])


def test_angles_turn_the_head_in_the_documented_directions(subject):
    camera, pose = subject.model.geometry.camera, subject.poses[0]
    nose, top = torch.tensor([[0.0, 0.0, 0.3]]), torch.tensor([[0.0, 1.0, PIVOT[2]]])

    def moved(point, **angles):
        return (project(camera, rotate_head(pose, by(**angles)), point) - project(camera, pose, point))[0]

    assert moved(nose, yaw=15)[1] > 0.5  # the person's left is right in the picture
    assert moved(nose, pitch=15)[0] < -0.5
    assert moved(top, roll=15)[1] > 0.5  # clockwise
    assert moved(torch.tensor([PIVOT]), yaw=-20, pitch=10, roll=5).abs().max() < 1e-3


def test_angles_are_added_to_the_heads_own():
    poses = track([4.0, -7.0], [2.0, 5.0], [-3.0, 1.0])
    assert torch.allclose(head_angles(poses), torch.tensor([[4.0, 2, -3], [-7, 5, 1]]), atol=1e-4)
    assert torch.allclose(head_angles(rotate_head(poses[0], by(10, -6, 8))), torch.tensor([14.0, -4, 5]), atol=1e-4)


def test_limits_are_the_filmed_range_and_a_margin_relative_to_the_canonical_pose():
    poses = track(torch.linspace(-6, 10, 101).tolist())
    limits = view_limits(poses)
    canonical = float(head_angles(poses[canonical_frame(poses)])[0])
    low, high = limits.yaw_deg
    assert 0 < canonical < 5
    assert low == pytest.approx(-6 + 0.32 - MARGINS_DEG[0] - canonical, abs=0.1)
    assert high == pytest.approx(10 - 0.32 + MARGINS_DEG[0] - canonical, abs=0.1)
    assert limits.pitch_deg == pytest.approx((-MARGINS_DEG[1], MARGINS_DEG[1]), abs=0.2)
    assert view_limits(track([-40.0, 0.0, 40.0])).yaw_deg == (-30, 30)


def test_a_view_is_clamped_and_eased_and_no_frame_jumps():
    poses = track(torch.linspace(-5, 5, 60).tolist())
    limits = view_limits(poses)
    view = apply(poses, ViewChange(yaw_deg=30, roll_deg=-4, x=0.1))
    assert view.change == ViewChange(yaw_deg=limits.yaw_deg[1], roll_deg=-4, x=0.1)
    canonical = float(head_angles(poses[canonical_frame(poses)])[0])
    yaw = torch.stack([head_angles(view.head_pose(pose))[0] for pose in poses])
    steps = yaw.diff()
    assert yaw.max() < canonical + limits.yaw_deg[1] + EASE_DEG
    assert (steps > 0).all() and steps.max() < 0.2 and (steps.diff().abs() < 0.05).all()
    within = apply(poses, ViewChange(yaw_deg=5))
    assert torch.allclose(head_angles(within.head_pose(poses[3])), head_angles(poses[3]) + by(5), atol=1e-3)
    assert torch.allclose(
        head_angles(within.torso_pose(poses[3])), head_angles(poses[3]) + TORSO_FOLLOW * by(5), atol=1e-3
    )
    assert apply(poses, ViewChange(zoom=1.5)).is_identity and not view.is_identity


def test_the_neck_follows_the_body_and_the_face_does_not():
    to_body = torch.eye(4)
    to_body[:3, 3] = torch.tensor([0.5, 0, 0])
    face = torch.tensor([[0.0, 0, 0.2], [0.0, CHIN_Y, 0.1], [0.8, -0.5, -0.8]])
    neck = torch.tensor([[0.0, -1.9, -0.5], [0.6, -1.8, -0.9]])
    ears = torch.tensor([[-1.1, -0.6, -0.5], [1.1, -0.6, -0.5]])
    assert torch.equal(skin_neck_to_body(face, to_body, (0, 0)), face) and torch.equal(
        skin_neck_to_body(ears, to_body, (0, 0)), ears
    )
    assert torch.allclose(skin_neck_to_body(neck, to_body, (0, 0)), neck + to_body[:3, 3])
    down = torch.stack([torch.zeros(50), torch.linspace(-1, -2, 50), torch.full((50,), -0.5)], -1)
    assert (skin_neck_to_body(down, to_body, (0, 0))[:, 0].diff() >= 0).all()


def test_hair_that_hangs_on_a_shoulder_follows_the_body():
    """On the side where it hangs: all the way where the torso's field takes over, not at all at the temple, the face never."""
    to_body = torch.eye(4)
    to_body[:3, 3] = torch.tensor([0.5, 0, 0])
    right, left = torch.tensor([-1.1, -0.9, -0.5]), torch.tensor([1.1, -0.9, -0.5])
    straight = skin_neck_to_body(left, to_body, (0, 0))  # as far as the neck's skin goes along
    assert torch.allclose(skin_neck_to_body(left, to_body, (0, 1)), left + to_body[:3, 3])
    assert torch.equal(skin_neck_to_body(left, to_body, (1, 0)), straight)
    assert torch.allclose(skin_neck_to_body(right, to_body, (1, 0)), right + to_body[:3, 3])
    kept = torch.tensor([[-1.1, 0.0, -0.5], [0.6, -0.6, 0.0], [0.0, CHIN_Y, 0.1]])
    assert torch.equal(skin_neck_to_body(kept, to_body, (1, 1)), kept)
    strand = torch.stack([torch.full((50,), 1.1), torch.linspace(0, -2, 50), torch.full((50,), -0.5)], -1)
    assert (skin_neck_to_body(strand, to_body, (1, 1))[:, 0].diff() >= 0).all()


def test_the_back_of_the_head_closes():
    front = torch.tensor([[0.9, 0.5, 0.0], [0.3, -1.0, WIDEST_Z]])
    assert torch.allclose(close_skull(front), front)
    depths = torch.linspace(WIDEST_Z, BACK_Z + 0.01, 20)
    places = close_skull(torch.stack([torch.full_like(depths, 0.5), torch.full_like(depths, 0.8), depths], -1))
    assert (places[:, :2].diff(dim=0) > 0).all() and places[-1, 0] > 3  # the outline narrows to a point
    assert (places[:, 2] >= depths - 1e-6).all()


def test_the_body_turns_less_than_the_head(subject):
    """Shoulders hardly move while the head turns: the torso follows its own pose."""
    view = applied_view(subject, ViewChange(yaw_deg=8))
    pose = subject.poses[0]
    pixels = subject.model.geometry.camera.pixel_grid()
    behind = torch.zeros(len(pixels), 3)

    def rendered(head, body):
        poses = None if body is None else body[None]
        frame = FrameConditions(head[None], subject.torso[:1], subject.upper[:1], torch.zeros(1, 6), poses)
        return render_frame(subject.model, frame, pixels, behind).color.reshape(subject.size, subject.size, 3)

    plain, turned = rendered(pose, None), rendered(view.head_pose(pose), view.torso_pose(pose))
    change = (plain - turned).abs().mean(-1)
    assert change[16:32, 12:36].mean() > 4 * change[44:, 4:44].mean()
