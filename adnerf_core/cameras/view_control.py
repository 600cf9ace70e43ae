"""Changed views: how far a subject may be turned, and the poses that come of it.

Angles are those of ViewChange in its words and signs, [yaw to the person's left, pitch up, roll clockwise], degrees.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from adnerf_core.cameras.cameras import pose_angles
from adnerf_core.config import ViewChange, ViewLimits

ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
MARGINS_DEG = (10.0, 5.0, 12.0)
"""How far beyond what was filmed the picture still holds: an ear's far side shows first, then the nose's; a tilt shows nothing new."""
WIDEST_DEG = 30.0
"""What a client can ask for, either way."""
EASE_DEG = 3.0
"""How far the head's own motion may lead beyond the limits, at most: it is eased there, not cut."""
TORSO_FOLLOW = 0.25
"""Share of a turn that the body joins in."""
PIVOT = (0.0, -0.6, -0.9)
"""What a changed view turns the head about, head frame: the top of the spine, so that the neck stays where it is."""


def head_angles(poses: Float[Tensor, "*n 4 4"]) -> Float[Tensor, "*n 3"]:
    """How the head is turned at camera-to-world `poses`."""
    pitch, yaw, roll = pose_angles(poses)[..., :3].rad2deg().unbind(-1)
    return torch.stack([yaw, -pitch, -roll], -1)


def canonical_frame(poses: Float[Tensor, "frames 4 4"]) -> int:
    """The frame whose pose lies closest to the mean of all."""
    angles = pose_angles(poses)
    return int((((angles - angles.mean(0)) / angles.std(0).clamp(min=1e-3)) ** 2).sum(-1).argmin())


def view_limits(poses: Float[Tensor, "frames 4 4"]) -> ViewLimits:
    """How far footage with these poses lets a view turn the head from its usual pose."""
    angles = head_angles(poses)
    usual = angles[canonical_frame(poses)]
    margins = torch.tensor(MARGINS_DEG, device=poses.device)
    seen = angles.quantile(torch.tensor([0.02, 0.98], device=poses.device), dim=0)
    least, most = (seen[0] - margins - usual).clamp(min=-WIDEST_DEG), (seen[1] + margins - usual).clamp(max=WIDEST_DEG)
    pairs = zip(least.tolist(), most.tolist(), strict=True)
    return ViewLimits(
        **{name: (round(low, 1), round(high, 1)) for name, (low, high) in zip(ANGLES, pairs, strict=True)}
    )


class ViewChangeApplier:
    """A change of view within a subject's limits.

    change: what is really used of the view that was asked for.
    """

    def __init__(self, poses: Float[Tensor, "frames 4 4"], asked: ViewChange):
        limits = view_limits(poses)
        used = {name: min(max(getattr(asked, name), low), high) for name, (low, high) in limits}
        self.change = asked.model_copy(update=used)
        self.turns = any(used.values())
        self._by = torch.tensor(list(used.values()), device=poses.device)
        usual = head_angles(poses[canonical_frame(poses)])
        self._low, self._high = (
            usual + torch.tensor([limit[end] for _, limit in limits], device=poses.device) for end in (0, 1)
        )

    def head(self, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """The camera's pose when the head, which moves as at `pose`, is turned by the view, eased towards the limits."""
        angles = head_angles(pose)
        turned = angles + self._by
        inside = turned.clamp(self._low, self._high)
        return rotate_head(pose, inside + EASE_DEG * ((turned - inside) / EASE_DEG).tanh() - angles)

    def body(self, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """The pose that the body follows: a share of the turn."""
        return rotate_head(pose, TORSO_FOLLOW * self._by)


def rotate_head(pose: Float[Tensor, "4 4"], by: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """The camera's pose after `by` is added to the head's angles, about the top of its spine."""
    yaw, pitch, roll = (head_angles(pose) + by).deg2rad().unbind(-1)
    rotation = pose[:3, :3] @ _about(0, -pitch) @ _about(1, yaw) @ _about(2, -roll)
    pivot = torch.tensor(PIVOT).to(pose)
    turned = pose.clone()
    # The head turns by `rotation` about the pivot, so the camera, seen from the head, turns the other way.
    turned[:3, :3] = rotation.T @ pose[:3, :3]
    turned[:3, 3] = rotation.T @ (pose[:3, 3] - pivot) + pivot
    return turned


def _about(axis: int, angle: Float[Tensor, ""]) -> Float[Tensor, "3 3"]:
    """The rotation by `angle` (rad) about a coordinate axis."""
    rotation = torch.eye(3, device=angle.device, dtype=angle.dtype)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation[i, i] = rotation[j, j] = angle.cos()
    rotation[j, i] = angle.sin()
    rotation[i, j] = -angle.sin()
    return rotation
