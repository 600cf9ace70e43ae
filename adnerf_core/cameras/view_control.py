"""Changed views: how far a subject's head may be turned, and the poses of a turned head and its torso.

Angles are [yaw, pitch, roll] in degrees with the signs of ViewChange: yaw to the person's left, pitch up, roll clockwise in the
image (docs/decisions/0013-views.md).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from adnerf_core.cameras.cameras import pose_angles
from adnerf_core.config import ViewChange, ViewLimits

ANGLES = ("yaw_deg", "pitch_deg", "roll_deg")
MARGINS_DEG = (10.0, 5.0, 12.0)
"""How far beyond the filmed range each angle may go. Measured on real footage: further yaw shows ears and temples without shape, further
pitch tears the nose, and further roll bends the neck too much (docs/decisions/0013-views.md)."""
FILMED_QUANTILES = (0.02, 0.98)
"""Quantiles of an angle that count as its filmed range: a single extreme frame teaches the head field little."""
WIDEST_DEG = 30.0
"""The largest angle that ViewChange accepts, in either direction."""
EASE_DEG = 3.0
"""The head's own motion leads beyond the limits by less than this: it is eased by a tanh, since a hard clamp would show as a stop."""
EASE_PLACE = 0.05
"""The same for the head's place, head units: 5 mm."""
TORSO_FOLLOW = 0.25
"""Share of the head's turn that the torso follows. The torso field has learned only what shoulders do within the filmed range
(docs/decisions/0013-views.md)."""
PIVOT = (0.0, -0.6, -0.9)
"""The point about which a changed view turns the head, head frame, head units: the top of the spine, between the ears and below them, so
that the neck stays in its place."""
MIN_POSE_STD = 1e-3
"""Lower bound of a pose number's standard deviation (rad or head units) in canonical_frame: a number that never changes must not
be divided by zero."""


def head_angles(poses: Float[Tensor, "*n 4 4"]) -> Float[Tensor, "*n 3"]:
    """Returns the head's angles at camera-to-world `poses`."""
    pitch, yaw, roll = pose_angles(poses)[..., :3].rad2deg().unbind(-1)
    return torch.stack([yaw, -pitch, -roll], -1)


def canonical_frame(poses: Float[Tensor, "frames 4 4"]) -> int:
    """Returns the frame whose standardized pose is closest to the mean pose."""
    angles = pose_angles(poses)
    return int((((angles - angles.mean(0)) / angles.std(0).clamp(min=MIN_POSE_STD)) ** 2).sum(-1).argmin())


def view_limits(poses: Float[Tensor, "frames 4 4"]) -> ViewLimits:
    """Returns how far a view may turn the head: the filmed range and MARGINS_DEG, relative to the canonical frame, rounded to 0.1."""
    angles = head_angles(poses)
    canonical = angles[canonical_frame(poses)]
    margins = torch.tensor(MARGINS_DEG, device=poses.device)
    filmed = angles.quantile(torch.tensor(FILMED_QUANTILES, device=poses.device), dim=0)
    low = (filmed[0] - margins - canonical).clamp(min=-WIDEST_DEG)
    high = (filmed[1] + margins - canonical).clamp(max=WIDEST_DEG)
    pairs = zip(ANGLES, low.tolist(), high.tolist(), strict=True)
    return ViewLimits(**{name: (round(least, 1), round(most, 1)) for name, least, most in pairs})


class AppliedView:
    """A view change within a subject's limits, applied to poses.

    change: the requested change with its angles clamped to the limits.
    is_identity: whether the change turns nothing (zoom and shift do not turn).
    """

    def __init__(self, requested: ViewChange, limits: ViewLimits, canonical_pose: Float[Tensor, "4 4"]):
        """Clamps `requested` to `limits`, which are relative to the angles of `canonical_pose`."""
        ranges = [getattr(limits, name) for name in ANGLES]
        angles = [
            min(max(getattr(requested, name), low), high) for name, (low, high) in zip(ANGLES, ranges, strict=True)
        ]
        self.change = requested.model_copy(update=dict(zip(ANGLES, angles, strict=True)))
        self.is_identity = not any(angles)
        self._turn = torch.tensor(angles, device=canonical_pose.device)
        canonical = head_angles(canonical_pose)
        self._low, self._high = (canonical + torch.tensor(ends).to(canonical) for ends in zip(*ranges, strict=True))

    def head_pose(self, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Returns the camera's pose relative to the turned head, given that relative to the unturned one.

        The turn is added to the head's own angles; beyond the limits their sum is eased, by EASE_DEG at most.
        """
        angles = head_angles(pose)
        return rotate_head(pose, ease(angles + self._turn, self._low, self._high, EASE_DEG) - angles)

    def torso_pose(self, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Returns the pose that the torso follows: the head's own pose with a share of the turn."""
        return rotate_head(pose, TORSO_FOLLOW * self._turn)


class ScaledMotion:
    """The head's motion about the most usual pose of the footage, made larger or smaller.

    Larger motion is eased at the angles of `limits`, and at the farthest places of the footage: the torso field, which follows the head, has
    learned no farther ones.
    """

    def __init__(self, poses: Float[Tensor, "frames 4 4"], limits: ViewLimits, scale: float):
        """Prepares the motion.

        Args:
            poses: of the footage.
            limits: relative to the canonical frame of `poses`.
            scale: 0 a still head, 1 the motion as it is.
        """
        self._scale = scale
        self._angles, self._places = head_angles(poses), pivot_places(poses)
        usual = canonical_frame(poses)
        self._angle, self._place = self._angles[usual], self._places[usual]
        ends = zip(*(getattr(limits, name) for name in ANGLES), strict=True)
        self._low, self._high = (self._angle + torch.tensor(end).to(self._angle) for end in ends)

    def __call__(self, pose: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Returns the camera-to-world pose with scaled motion."""
        angles = head_angles(pose)
        target = self._angle + self._scale * (angles - self._angle)
        turned = rotate_head(pose, ease(target, self._low, self._high, EASE_DEG) - angles)
        place = self._place + self._scale * (pivot_places(pose) - self._place)
        place = ease(place, self._places.amin(0), self._places.amax(0), EASE_PLACE)
        turned[:3, 3] = torch.tensor(PIVOT).to(pose) - turned[:3, :3] @ place
        return turned


def ease(values: Float[Tensor, "*n"], low: Tensor, high: Tensor, margin: float) -> Float[Tensor, "*n"]:
    """Returns `values`, of which those beyond `low` and `high` are led back to less than `margin` beyond them."""
    inside = values.clamp(low, high)
    return inside + margin * ((values - inside) / margin).tanh()


def pivot_places(poses: Float[Tensor, "*n 4 4"]) -> Float[Tensor, "*n 3"]:
    """Returns where PIVOT is in the camera's axes, head units."""
    offset = torch.tensor(PIVOT).to(poses) - poses[..., :3, 3]
    return (offset[..., None, :] @ poses[..., :3, :3])[..., 0, :]


def rotate_head(pose: Float[Tensor, "4 4"], by: Float[Tensor, " 3"]) -> Float[Tensor, "4 4"]:
    """Returns the camera's pose after `by` is added to the head's angles; the head turns about PIVOT."""
    yaw, pitch, roll = (head_angles(pose) + by).deg2rad().unbind(-1)
    rotation = pose[:3, :3] @ _axis_rotation(0, -pitch) @ _axis_rotation(1, yaw) @ _axis_rotation(2, -roll)
    pivot = torch.tensor(PIVOT).to(pose)
    turned = pose.clone()
    # The head turns by `rotation` about the pivot, so the camera, seen from the head, turns the other way.
    turned[:3, :3] = rotation.T @ pose[:3, :3]
    turned[:3, 3] = rotation.T @ (pose[:3, 3] - pivot) + pivot
    return turned


def _axis_rotation(axis: int, angle: Float[Tensor, ""]) -> Float[Tensor, "3 3"]:
    """Returns the rotation by `angle` (rad) about a coordinate axis."""
    rotation = torch.eye(3, device=angle.device, dtype=angle.dtype)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation[i, i] = rotation[j, j] = angle.cos()
    rotation[j, i] = angle.sin()
    rotation[i, j] = -angle.sin()
    return rotation
