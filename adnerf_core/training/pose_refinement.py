"""Photometric refinement of the track: the portrait itself is the best tracker there is.

Landmarks place the head to about a pixel, with errors that drift with pose and expression, and a portrait trained on such a
track is blurred by them. So poses are moved to where the portrait looks most like the footage (the idea of BARF; published
ablations give it up to 10 dB): damped Gauss-Newton steps, a Jacobian by finite differences, on rays of the head and of its
outline, leaving out the mouth, which moves by itself. The same rays tell how bright a frame is, and whether it fits at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from adnerf_core.cameras.cameras import cast_rays
from adnerf_core.data.dataset import SubjectDataset, Track, face_boxes
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.rendering.volume_rendering import over

FD_STEP = (2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 2e-2)
"""What a pose is moved by to see how the picture changes: rotation (rad), translation (head units; depth shows least)."""
PRIOR_STD = (0.03, 0.03, 0.03, 0.03, 0.03, 0.2)
"""Standard deviation of the tracker's errors, towards which corrections are drawn a little (PRIOR_WEIGHT)."""
PRIOR_WEIGHT = 2e-4
"""What the tracker's word counts, a ray: the rays of a frame err together, they are no independent witnesses."""
NOISE = 0.05
"""Standard deviation of a colour that is explained well; larger errors (a hand, a highlight) count linearly (Huber)."""
OVERRELAXATION = 1.5
"""Steps are made so much longer than the linear model says: far from the optimum the robust one falls short."""
MAX_STEP = 0.1
"""Longest step in each number."""
CORRECTION_SIGMA = 2.0
"""Standard deviation, frames, of the Gaussian that corrections are averaged with: a head has mass."""
POSE_SIGMA = 0.5
"""Likewise of the poses that are rendered: so little takes what the tracker trembles by, and leaves what the head does."""
RIM, RIM_SHARE = 6, 0.25
"""Width of the outline on either side, px of a 256 px picture, and its share of the rays."""
RAYS = 512
"""Rays a frame and round."""
BATCH_FRAMES = 4
"""Frames in one batch."""
OUTLIER_RATIO = 2.5
"""A frame whose error is so many times the usual one shows something else than the others: it is not to be learned from."""
HELD_OUT_ROUNDS = 4


@dataclass(frozen=True)
class AlignmentFrames:
    """Footage to align with: its pictures, masks, boxes of the mouth (row, col, row, col), the head's condition, and the clean
    plate (colours 0..1). `frames` says which of them, in order of time: footage is large, and not copied for that."""

    frames: Int[Tensor, " frames"]
    pictures: UInt8[Tensor, "all size size 3"]
    masks: UInt8[Tensor, "all size size 2"]
    mouths: Float[Tensor, "all 4"]
    condition: Float[Tensor, "all condition"]
    plate: Float[Tensor, "size size 3"]


class TrackRefinement(NamedTuple):
    """What is known of each frame: the correction of its pose (see `apply_pose_delta`), its exposure (how bright each channel is, 1: as
    usual), and its misfit (mean absolute error of the colours)."""

    change: Float[Tensor, "frames 6"]
    exposure: Float[Tensor, "frames 3"]
    misfit: Float[Tensor, " frames"]

    @classmethod
    def none(cls, frames: int, device: torch.device | str) -> TrackRefinement:
        """Before the first round."""
        change = torch.zeros((frames, 6), device=device)
        return cls(change, torch.ones((frames, 3), device=device), torch.zeros(frames, device=device))

    def to(self, device: torch.device | str) -> TrackRefinement:
        """The same on another device."""
        return TrackRefinement(*(values.to(device) for values in self))

    def between(self, chosen: Int[Tensor, " frames"], count: int) -> TrackRefinement:
        """The fit of `count` frames, of which this one knows `chosen` (ascending); those between lie between."""
        at, times = chosen.cpu().numpy(), np.arange(count)
        full = (np.stack([np.interp(times, at, c) for c in v.reshape(len(at), -1).T.cpu().numpy()], -1) for v in self)
        change, exposure, misfit = (torch.from_numpy(v).float().to(chosen.device) for v in full)
        return TrackRefinement(change, exposure, misfit[:, 0])

    def trusted(self) -> Int[Tensor, " trusted"]:
        """The frames to learn from."""
        return (self.misfit <= OUTLIER_RATIO * self.misfit.median()).nonzero()[:, 0]


def pixel_probabilities(
    masks: UInt8[Tensor, "frames size size 2"], mouths: Float[Tensor, "frames 4"]
) -> Float[Tensor, "frames size size"]:
    """Where to look: all over the head, and along its outline; not at the mouth, whose boxes are (row, col, row, col)."""
    size = masks.shape[1]
    head, behind = masks[..., 0] > 242, (masks < 13).all(-1)
    reach = max(1, round(RIM * size / 256))
    near, inner = (F.max_pool2d(part.float(), 2 * reach + 1, 1, reach) for part in (~behind, ~head))
    rim = ((behind & (near > 0)) | (head & (inner > 0))).float()
    steps = torch.arange(size, device=masks.device) + 0.5
    top, left, bottom, right = (side[:, None, None] for side in mouths.unbind(-1))
    mouth = (steps[:, None] > top) & (steps[:, None] < bottom) & (steps > left) & (steps < right)
    head = (head & ~mouth).float()
    each = (part / part.sum((1, 2), keepdim=True).clamp(min=1) for part in (head, rim))
    return next(each) * (1 - RIM_SHARE) + next(each) * RIM_SHARE


def apply_pose_delta(poses: Float[Tensor, "*#n 4 4"], change: Float[Tensor, "*#n 6"]) -> Float[Tensor, "*#n 4 4"]:
    """Camera-to-world poses after a turn about the head's origin by a rotation vector (rad), then a shift (head units), both
    in the head's frame: `change` is (rotation, shift)."""
    x, y, z = change[..., :3].unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    top = torch.linalg.matrix_exp(cross) @ poses[..., :3, :]
    top = torch.cat([top[..., :3], top[..., 3:] + change[..., 3:, None]], -1)
    return torch.cat([top, poses[..., 3:, :].expand(*top.shape[:-2], 1, 4)], -2)


@torch.no_grad()
def refine_poses(
    portrait: TalkingHead,
    looks: AlignmentFrames,
    poses: Float[Tensor, "frames 4 4"],
    fit: TrackRefinement,
    generator: torch.Generator,
    tick: Callable[[], None] = lambda: None,
) -> TrackRefinement:
    """One round: a better fit than `fit` of the tracked `poses`, smooth in time. `tick` is called every few frames."""
    parts = []
    for part in torch.arange(len(poses), device=poses.device).split(BATCH_FRAMES):
        tick()
        parts.append(_gauss_newton_step(portrait, looks, poses[part], fit, part, generator))
    change, exposure, misfit = (torch.cat(column) for column in zip(*parts, strict=True))
    found = TrackRefinement(fit.change + change, exposure / exposure.median(0).values, misfit)
    strange = torch.ones(len(poses), dtype=torch.bool, device=poses.device)
    strange[found.trusted()] = False
    # What a strange frame says of its own pose and light would spoil its neighbours.
    change, exposure = (torch.where(strange[:, None], old, new) for old, new in zip(fit[:2], found[:2], strict=True))
    return TrackRefinement(_smooth(change), _smooth(exposure), misfit)


def align_held_out(
    portrait: TalkingHead, dataset: SubjectDataset, track: Track, frames: ndarray, codes: Float[Tensor, "frames code"]
) -> Track:
    """The track with the poses of held-out `frames` refined, under the lip `codes` heard; the field itself stays as it is.

    As published evaluations do, the held-out poses are given and not predicted: so the best estimate of them is due.
    """
    device, size = portrait.device, portrait.geometry.camera.width
    pictures = torch.from_numpy(np.stack([dataset.picture(int(k), size) for k in frames])).to(device)
    masks = torch.from_numpy(np.stack([dataset.mask(int(k), size) for k in frames])).to(device)
    mouths = torch.from_numpy(np.stack([face_boxes(dataset, track, int(k), size)[0] for k in frames])).to(device)
    upper = torch.from_numpy(track.upper_face()[frames]).to(device)
    plate = torch.from_numpy(dataset.background(size)).to(device) / 255
    each = torch.arange(len(frames), device=device)
    looks = AlignmentFrames(each, pictures, masks, mouths, portrait.condition(codes, upper), plate)
    poses = torch.from_numpy(track.pose[frames]).float().to(device)
    fit, generator = TrackRefinement.none(len(frames), device), torch.Generator().manual_seed(0)
    for _ in range(HELD_OUT_ROUNDS):
        fit = refine_poses(portrait, looks, poses, fit, generator)
    pose = track.pose.copy()
    pose[frames] = smooth_poses(apply_pose_delta(poses, fit.change)).cpu().numpy()
    return replace(track, pose=pose)


def refine_track(track: Track, numbers: Int[ndarray, " n"], change: Float[ndarray, "n 6"]) -> Track:
    """The track moved by the corrections `change` of the frames `numbers` (ascending), interpolated between them."""
    times = np.arange(len(track.pose))
    full = np.stack([np.interp(times, numbers, column) for column in change.T], -1)
    pose = apply_pose_delta(torch.from_numpy(track.pose).double(), torch.from_numpy(full).double()).numpy()
    return replace(track, pose=pose.astype(track.pose.dtype))


def smooth_poses(poses: Float[Tensor, "frames 4 4"]) -> Float[Tensor, "frames 4 4"]:
    """Poses averaged over time (POSE_SIGMA); the mean of rotations is the rotation next to the mean of their matrices."""
    mean = _smooth(poses.flatten(1), POSE_SIGMA).view_as(poses)
    left, _, right = torch.linalg.svd(mean[:, :3, :3])
    mean[:, :3, :3], mean[:, 3] = left @ right, poses[:, 3]
    return mean


def _gauss_newton_step(
    portrait: TalkingHead,
    looks: AlignmentFrames,
    poses: Tensor,
    fit: TrackRefinement,
    part: Tensor,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "part 6"], Float[Tensor, "part 3"], Float[Tensor, " part"]]:
    """Of the frames `part`: the Gauss-Newton step of the pose, the exposure, and the misfit."""
    steps, trust = torch.tensor(FD_STEP, device=poses.device), torch.tensor(PRIOR_STD, device=poses.device)
    size, frames = looks.pictures.shape[1], looks.frames[part]
    where = pixel_probabilities(looks.masks[frames], looks.mouths[frames]).flatten(1).cpu()
    chosen = torch.multinomial(where, RAYS, True, generator=generator).to(poses.device)
    target = looks.pictures[frames].flatten(1, 2).gather(1, chosen[..., None].expand(-1, -1, 3)) / 255
    pixels = torch.stack([chosen // size, chosen % size], -1) + 0.5
    tries = torch.cat([steps.new_zeros(1, 6), torch.diag(steps)])
    tried = apply_pose_delta(poses[:, None], fit.change[part, None] + tries)
    seen = _render_candidates(portrait, tried, pixels, looks.condition[frames], looks.plate.flatten(0, 1)[chosen])
    seen = seen * fit.exposure[part, None, None]
    misfit = seen[:, 0] - target
    error = misfit.flatten(1)
    slopes = (seen[:, 1:] - seen[:, :1]).flatten(2) / steps[:, None]
    weighed = slopes * (NOISE / error.abs().clamp(min=NOISE))[:, None] / NOISE**2
    prior = PRIOR_WEIGHT * error.shape[1] / trust**2
    normal = weighed @ slopes.transpose(1, 2) + torch.diag(prior)
    downhill = -(weighed @ error[..., None])[..., 0] - prior * fit.change[part]
    change = (OVERRELAXATION * torch.linalg.solve(normal, downhill)).clamp(-MAX_STEP, MAX_STEP)
    # The ratio of medians, not of means: what is bright by chance (a hand, a highlight) does not count as light.
    brighter = target.median(1).values / seen[:, 0].median(1).values.clamp(min=0.02)
    exposure = (fit.exposure[part] * brighter).clamp(0.5, 2.0)
    return change, exposure, misfit.abs().mean((1, 2))


def _render_candidates(
    portrait: TalkingHead, tried: Tensor, pixels: Tensor, condition: Tensor, behind: Tensor
) -> Float[Tensor, "part tries rays 3"]:
    """What is seen through `pixels` [part, rays, 2] from each of the poses `tried` [part, tries, 4, 4]."""
    shape = (*tried.shape[:2], pixels.shape[1])

    def each(values: Tensor) -> Tensor:
        return values.expand(*shape, *values.shape[3:]).flatten(0, 2)

    rays = cast_rays(portrait.geometry.camera, each(tried[:, :, None]), each(pixels[:, None]))
    moment = torch.arange(len(tried), device=pixels.device)
    head = portrait.render_head(rays, condition, each(moment[:, None, None]))
    return over(head, each(behind[:, None])).unflatten(0, shape)


def _smooth(values: Float[Tensor, "frames n"], spread: float = CORRECTION_SIGMA) -> Float[Tensor, "frames n"]:
    reach = math.ceil(3 * spread)
    steps = torch.arange(-reach, reach + 1, device=values.device, dtype=values.dtype)
    window = torch.exp(-0.5 * (steps / spread) ** 2)
    padded = F.pad(values.T[:, None], (reach, reach), mode="replicate")
    return F.conv1d(padded, (window / window.sum())[None, None])[:, 0].T
