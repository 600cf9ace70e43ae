"""Photometric pose refinement: damped Gauss-Newton on the difference between the rendered head and the footage.

Landmarks place the head to about a pixel, with errors that depend on pose and expression, and a model trained on such a track is
blurred by them. So the poses are moved to where the head, as it is rendered by then, looks most like the footage. Optimising poses
together with a radiance field is the idea of BARF (Lin et al., ICCV 2021); here poses and field are optimised in turns.

For each frame a correction d of six numbers (see `apply_pose_delta`) minimises

    E(d) = sum_i rho(r_i(d)) / NOISE^2 + PRIOR_WEIGHT n sum_k (d_k / PRIOR_STD_k)^2

where r_i are the n colour differences of RAYS pixels, and rho is Huber's loss: quadratic up to NOISE, linear beyond. One step solves
the normal equations

    (J W J^T + D) s = -(J W r + D d)

with J_ki = (r_i(d + h_k e_k) - r_i(d)) / h_k by finite differences (h = FD_STEP), W = diag(min(1, NOISE / |r_i|)) / NOISE^2 (Huber's
weights), and D = diag(PRIOR_WEIGHT n / PRIOR_STD^2), the prior, which also damps the step. Then d += clamp(OVERRELAXATION s, MAX_STEP).

The same rays give the exposure of a frame, and a residual that shows whether it fits the other frames at all.
"""

from __future__ import annotations

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
from adnerf_core.data.region_labels import FULL_COVERAGE, NO_COVERAGE
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.rendering.volume_rendering import over
from adnerf_core.training.track_refinement import (
    TrackRefinement,
    apply_pose_delta,
    smooth_over_time,
    smooth_poses,
)

FD_STEP = (2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 2e-2)
"""Steps of the finite differences: rotation (rad) and translation (head units). Each moves the picture by a fraction of a pixel; depth
has a larger one because it changes the picture least."""
PRIOR_STD = (0.03, 0.03, 0.03, 0.03, 0.03, 0.2)
"""Standard deviation of the tracker's errors, in the units of FD_STEP: about 2 degrees, 3 % of the distance between the eyes, and more in
depth, which landmarks determine worst. Unmeasured."""
PRIOR_WEIGHT = 2e-4
"""Weight of the prior for each residual. It is far below 1 because the residuals of a frame have common causes (a blurred texture, a wrong
expression) and are not independent observations. Unmeasured."""
NOISE = 0.05
"""Standard deviation of the colour (0..1) of a pixel that the model explains. Larger differences (a hand, a highlight) count linearly."""
OVERRELAXATION = 1.5
"""Factor of each step. Far from the optimum most residuals have Huber weights below 1, and the linear model's step is too short."""
MAX_STEP = 0.1
"""Largest change of each number in one step (rad, head units), beyond which the linear model does not hold."""
RIM_PX, RIM_REFERENCE_PX, RIM_SHARE = 6, 256, 0.25
"""Half-width of the band along the head's outline, px of a picture of RIM_REFERENCE_PX, and the share of the rays in it. The outline
determines the pose where the face has no texture."""
RAYS = 512
"""Rays of a frame in one step. Four times as many gain nothing (docs/fidelity.md: 29.92 and 29.91 dB)."""
BATCH_FRAMES = 4
"""Frames that are rendered at once, 7 times RAYS each; more need more memory, fewer cost more calls."""
MIN_BRIGHTNESS = 0.02
"""Least rendered brightness by which the exposure is divided."""
EXPOSURE_RANGE = (0.5, 2.0)
"""Exposures are clamped to one stop: a larger change of light is rather another scene, and its frame an outlier."""
HELD_OUT_ROUNDS = 4
"""Steps that refine held-out poses: as many as training makes (REFINE_AT in talking_head_task.py)."""


@dataclass(frozen=True)
class AlignmentFrames:
    """The frames to align the head with.

    The tensors hold all frames of the footage part, because they are large and a selection would copy them.

    Attributes:
        indices: the frames to align, indices into the other tensors, in order of time.
        images: RGB.
        masks: coverage by head and torso, 0..255.
        mouth_boxes: (top, left, bottom, right), px.
        condition: of the head's field.
        background: the clean plate, 0..1.
    """

    indices: Int[Tensor, " frames"]
    images: UInt8[Tensor, "all size size 3"]
    masks: UInt8[Tensor, "all size size 2"]
    mouth_boxes: Float[Tensor, "all 4"]
    condition: Float[Tensor, "all condition"]
    background: Float[Tensor, "size size 3"]


class _Linearization(NamedTuple):
    """The rendering around the current poses of some frames.

    color: rendered colours at the current poses, times the exposure; residual: color - footage; jacobian: derivatives of the
    residuals by the six numbers of the pose.
    """

    color: Float[Tensor, "part rays 3"]
    target: Float[Tensor, "part rays 3"]
    residual: Float[Tensor, "part residuals"]
    jacobian: Float[Tensor, "part 6 residuals"]


@torch.no_grad()
def refine_poses(
    model: TalkingHead,
    alignment: AlignmentFrames,
    poses: Float[Tensor, "frames 4 4"],
    refinement: TrackRefinement,
    generator: torch.Generator,
    tick: Callable[[], None] = lambda: None,
) -> TrackRefinement:
    """Makes one Gauss-Newton step for every frame, and smooths the corrections over time.

    Args:
        model: the model whose head is aligned.
        alignment: the footage.
        poses: the tracked poses of `alignment.indices`.
        refinement: the estimate so far, of the same frames.
        generator: draws the pixels.
        tick: is called every BATCH_FRAMES frames.
    """
    parts = []
    for part in torch.arange(len(poses), device=poses.device).split(BATCH_FRAMES):
        tick()
        parts.append(_gauss_newton_step(model, alignment, poses[part], refinement.select(part), part, generator))
    step, exposure, residual = (torch.cat(column) for column in zip(*parts, strict=True))
    refined = TrackRefinement(refinement.pose_delta + step, exposure / exposure.median(0).values, residual)
    outlier = torch.ones(len(poses), dtype=torch.bool, device=poses.device)
    outlier[refined.inliers()] = False
    # The estimates of an outlier would spread to its neighbours by smoothing, so it keeps its former ones.
    pose_delta = torch.where(outlier[:, None], refinement.pose_delta, refined.pose_delta)
    exposure = torch.where(outlier[:, None], refinement.exposure, refined.exposure)
    return TrackRefinement(smooth_over_time(pose_delta), smooth_over_time(exposure), residual)


def align_held_out(
    model: TalkingHead, dataset: SubjectDataset, track: Track, frames: ndarray, codes: Float[Tensor, "frames code"]
) -> Track:
    """Refines the poses of held-out frames; the model does not change.

    As in published evaluations, the poses of held-out frames are given and not predicted, so they should be the best estimates.

    Args:
        model: the finished model.
        dataset: the footage.
        track: the track of the footage.
        frames: the valid held-out frames, ascending.
        codes: the lip codes of these frames, predicted from the sound.

    Returns:
        The track with the refined poses at `frames`.
    """
    device, size = model.device, model.geometry.camera.width
    numbers = [int(frame) for frame in frames]
    upper_face = torch.from_numpy(track.upper_face()[frames]).to(device)
    alignment = AlignmentFrames(
        indices=torch.arange(len(frames), device=device),
        images=torch.from_numpy(np.stack([dataset.picture(k, size) for k in numbers])).to(device),
        masks=torch.from_numpy(np.stack([dataset.mask(k, size) for k in numbers])).to(device),
        mouth_boxes=torch.from_numpy(np.stack([face_boxes(dataset, track, k, size)[0] for k in numbers])).to(device),
        condition=model.condition(codes, upper_face),
        background=torch.from_numpy(dataset.background(size)).to(device) / 255,
    )
    poses = torch.from_numpy(track.pose[frames]).float().to(device)
    refinement, generator = TrackRefinement.identity(len(frames), device), torch.Generator().manual_seed(0)
    for _ in range(HELD_OUT_ROUNDS):
        refinement = refine_poses(model, alignment, poses, refinement, generator)
    pose = track.pose.copy()
    pose[frames] = smooth_poses(apply_pose_delta(poses, refinement.pose_delta)).cpu().numpy()
    return replace(track, pose=pose)


def pixel_probabilities(
    masks: UInt8[Tensor, "frames size size 2"], mouth_boxes: Float[Tensor, "frames 4"]
) -> Float[Tensor, "frames size size"]:
    """Returns the probability of each pixel to be drawn: 1 - RIM_SHARE over the head without the mouth, RIM_SHARE along its outline.

    The mouth is left out because it moves with the sound. The outline is where head and background meet; the border between head
    and torso is not part of it.

    Args:
        masks: coverage by head and torso, 0..255.
        mouth_boxes: (top, left, bottom, right), px.
    """
    size = masks.shape[1]
    head, background = masks[..., 0] > FULL_COVERAGE, (masks < NO_COVERAGE).all(-1)
    width = max(1, round(RIM_PX * size / RIM_REFERENCE_PX))
    near_person, near_other = (F.max_pool2d(part.float(), 2 * width + 1, 1, width) > 0 for part in (~background, ~head))
    rim = ((background & near_person) | (head & near_other)).float()
    centers = torch.arange(size, device=masks.device) + 0.5
    top, left, bottom, right = (side[:, None, None] for side in mouth_boxes.unbind(-1))
    mouth = (centers[:, None] > top) & (centers[:, None] < bottom) & (centers > left) & (centers < right)
    inner = (head & ~mouth).float()
    inner_density, rim_density = (part / part.sum((1, 2), keepdim=True).clamp(min=1) for part in (inner, rim))
    return inner_density * (1 - RIM_SHARE) + rim_density * RIM_SHARE


def _gauss_newton_step(
    model: TalkingHead,
    alignment: AlignmentFrames,
    poses: Float[Tensor, "part 4 4"],
    refinement: TrackRefinement,
    part: Int[Tensor, " part"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "part 6"], Float[Tensor, "part 3"], Float[Tensor, " part"]]:
    """Returns the step of the pose, the new exposure and the mean absolute residual of the frames `part`."""
    around = _linearize(model, alignment, poses, refinement, alignment.indices[part], generator)
    step = _solve(around.residual, around.jacobian, refinement.pose_delta)
    # The ratio of medians and not of means, because a hand or a highlight is not a change of light.
    brightness = around.color.median(1).values.clamp(min=MIN_BRIGHTNESS)
    exposure = refinement.exposure * (around.target.median(1).values / brightness)
    return step, exposure.clamp(*EXPOSURE_RANGE), (around.color - around.target).abs().mean((1, 2))


def _linearize(
    model: TalkingHead,
    alignment: AlignmentFrames,
    poses: Float[Tensor, "part 4 4"],
    refinement: TrackRefinement,
    indices: Int[Tensor, " part"],
    generator: torch.Generator,
) -> _Linearization:
    """Renders RAYS pixels of each frame from its current pose, and from six poses that differ by FD_STEP in one number."""
    size, fd_step = alignment.images.shape[1], torch.tensor(FD_STEP, device=poses.device)
    probabilities = pixel_probabilities(alignment.masks[indices], alignment.mouth_boxes[indices]).flatten(1).cpu()
    chosen = torch.multinomial(probabilities, RAYS, True, generator=generator).to(poses.device)
    pixels = torch.stack([chosen // size, chosen % size], -1) + 0.5
    target = alignment.images[indices].flatten(1, 2).gather(1, chosen[..., None].expand(-1, -1, 3)) / 255
    offsets = torch.cat([fd_step.new_zeros(1, 6), torch.diag(fd_step)])
    candidates = apply_pose_delta(poses[:, None], refinement.pose_delta[:, None] + offsets)
    background = alignment.background.flatten(0, 1)[chosen]
    colors = _render_candidates(model, candidates, pixels, alignment.condition[indices], background)
    colors = colors * refinement.exposure[:, None, None]
    residual = (colors[:, 0] - target).flatten(1)
    jacobian = (colors[:, 1:] - colors[:, :1]).flatten(2) / fd_step[:, None]
    return _Linearization(colors[:, 0], target, residual, jacobian)


def _solve(
    residual: Float[Tensor, "part residuals"],
    jacobian: Float[Tensor, "part 6 residuals"],
    pose_delta: Float[Tensor, "part 6"],
) -> Float[Tensor, "part 6"]:
    """Solves the normal equations (see the top of this module); returns the overrelaxed, clamped step."""
    huber = NOISE / residual.abs().clamp(min=NOISE)
    weighted = jacobian * huber[:, None] / NOISE**2
    prior = PRIOR_WEIGHT * residual.shape[1] / torch.tensor(PRIOR_STD, device=residual.device) ** 2
    matrix = weighted @ jacobian.transpose(1, 2) + torch.diag(prior)
    right_side = -(weighted @ residual[..., None])[..., 0] - prior * pose_delta
    return (OVERRELAXATION * torch.linalg.solve(matrix, right_side)).clamp(-MAX_STEP, MAX_STEP)


def _render_candidates(
    model: TalkingHead,
    candidates: Float[Tensor, "part tries 4 4"],
    pixels: Float[Tensor, "part rays 2"],
    condition: Float[Tensor, "part condition"],
    background: Float[Tensor, "part rays 3"],
) -> Float[Tensor, "part tries rays 3"]:
    """Renders the same pixels of each frame from each of its candidate poses, over the background."""
    shape = (*candidates.shape[:2], pixels.shape[1])

    def each(values: Tensor) -> Tensor:
        """Repeats values of shape [part, 1 or tries, 1 or rays, ...] for all rays, and flattens these axes."""
        return values.expand(*shape, *values.shape[3:]).flatten(0, 2)

    rays = cast_rays(model.geometry.camera, each(candidates[:, :, None]), each(pixels[:, None]))
    frame_index = torch.arange(len(candidates), device=pixels.device)
    head = model.render_head(rays, condition, each(frame_index[:, None, None]))
    return over(head, each(background[:, None])).unflatten(0, shape)
