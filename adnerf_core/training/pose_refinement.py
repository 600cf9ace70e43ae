"""Photometric pose refinement: damped Gauss-Newton on the difference between the rendered head and the footage.

Landmarks locate the head to within about a pixel, and their errors vary with pose and expression, so a model trained on their track
is blurred. Each pose is therefore corrected so that the head, rendered by the partly trained model, matches the footage best. BARF (Lin et
al., ICCV 2021) optimises poses together with a radiance field; here the two are optimised in turns.

For each frame a correction d of six numbers (see `apply_pose_delta`) minimises

    E(d) = sum_i rho(r_i(d)) / NOISE^2 + PRIOR_WEIGHT n sum_k (d_k / PRIOR_STD_k)^2

where r_i are the n colour differences of RAYS pixels, and rho is Huber's loss: quadratic up to NOISE, linear beyond. One step solves
the normal equations

    (J W J^T + D) s = -(J W r + D d)

with J_ki = (r_i(d + h_k e_k) - r_i(d)) / h_k by finite differences (h = FD_STEP), W = diag(min(1, NOISE / |r_i|)) / NOISE^2 (Huber's
weights), and D = diag(PRIOR_WEIGHT n / PRIOR_STD^2), the prior, which also damps the step. Then d += clamp(OVERRELAXATION s, MAX_STEP).

The same rays give the exposure of each frame, and a residual by which frames that do not fit the others are recognised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from adnerf_core.cameras.cameras import cast_rays
from adnerf_core.data.region_labels import FULL_COVERAGE, NO_COVERAGE
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.rendering.dilation import dilate
from adnerf_core.rendering.volume_rendering import over
from adnerf_core.training.parallel import map_in_threads
from adnerf_core.training.track_refinement import (
    TrackRefinement,
    apply_pose_delta,
    smooth_over_time,
)

FD_STEP = (2e-3, 2e-3, 2e-3, 2e-3, 2e-3, 2e-2)
"""Steps of the finite differences: rotation (rad) and translation (head units). Each moves the image by a fraction of a pixel. The step in
depth is larger because depth changes the image least."""
PRIOR_STD = (0.03, 0.03, 0.03, 0.03, 0.03, 0.2)
"""Standard deviation of the tracker's errors, in the units of FD_STEP: about 2 degrees, 3 % of the distance between the eyes, and more in
depth, which landmarks determine worst. Unmeasured."""
PRIOR_WEIGHT = 2e-4
"""Weight of the prior, per residual. It is far below 1 because the residuals of a frame have common causes (a blurred texture, a wrong
expression), so they are not independent observations. Unmeasured."""
NOISE = 0.05
"""Standard deviation of the colour error (0..1) at pixels that the model can reproduce. Larger errors (a hand, a highlight) count
linearly."""
OVERRELAXATION = 1.5
"""Factor of each step. Far from the optimum most residuals have Huber weights below 1, and the linear model's step is too short."""
MAX_STEP = 0.1
"""Largest change of each component of a pose in one step (rad, head units). Beyond it the linear model does not hold."""
RIM_PX, RIM_REFERENCE_PX, RIM_SHARE = 6, 256, 0.25
"""The rim along the outline (see pixel_probabilities): its half-width in an image of RIM_REFERENCE_PX, px, and the share of the rays that
are drawn in it. The outline shows the pose even if the face has little texture."""
RAYS = 256
"""Rays of a frame in one step. Twice as many gain nothing (docs/fidelity.md: held-out heads 29.76 and 29.73 dB), and cost two thirds more."""
BATCH_FRAMES, CUDA_BATCH_FRAMES = 4, 64
"""Frames that are rendered at once, 7 x RAYS rays each. More frames need more memory; fewer need more calls. A GPU has room for the activations
of 64 (0.4 GB), and needs as many to be busy. The latter is unmeasured."""
MIN_BRIGHTNESS = 0.02
"""Least rendered brightness by which the exposure is divided."""
EXPOSURE_RANGE = (0.5, 2.0)
"""Range of the exposures: one stop (a factor of 2) either way. A larger change of light more likely means another scene."""


@dataclass(frozen=True)
class AlignmentFrames:
    """The frames whose poses are refined, and what is known about them.

    The tensors may hold more frames than `indices` selects: they are large, and a selection would copy them.

    Attributes:
        indices: the frames to refine, in order of time: indices into the other tensors.
        images: RGB, 0..255.
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
    """Colours at the current poses of a chunk of frames, and how they change with the poses.

    color: rendered at the current poses, times the exposure, 0..1.
    target: colours of the same pixels in the footage, 0..1.
    residual: color - target.
    jacobian: derivatives of the residuals by the six components of the pose.
    """

    color: Float[Tensor, "chunk rays 3"]
    target: Float[Tensor, "chunk rays 3"]
    residual: Float[Tensor, "chunk residuals"]
    jacobian: Float[Tensor, "chunk 6 residuals"]


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
        tick: is called every two batches of frames, which are computed at the same time.
    """

    @torch.no_grad()
    def estimate(batch: tuple[Int[Tensor, " chunk"], int]) -> tuple[Tensor, Tensor, Tensor]:
        chunk, seed = batch
        indices, drawn = alignment.indices[chunk], torch.Generator(poses.device).manual_seed(seed)
        return _gauss_newton_step(model, alignment, indices, poses[chunk], refinement.select(chunk), drawn)

    at_once = CUDA_BATCH_FRAMES if poses.is_cuda else BATCH_FRAMES
    chunks = torch.arange(len(poses), device=poses.device).split(at_once)
    seeds = torch.randint(2**62, (len(chunks),), generator=generator).tolist()
    work, estimates = list(zip(chunks, seeds, strict=True)), []
    for first in range(0, len(work), 2):
        tick()
        estimates += map_in_threads(estimate, work[first : first + 2])
    step, exposure, residual = (torch.cat(column) for column in zip(*estimates, strict=True))
    refined = TrackRefinement(refinement.pose_delta + step, exposure / exposure.median(0).values, residual)
    outlier = torch.ones(len(poses), dtype=torch.bool, device=poses.device)
    outlier[refined.inliers()] = False
    # Smoothing would spread the new estimate of an outlier to its neighbours, so an outlier keeps its previous estimate.
    pose_delta = torch.where(outlier[:, None], refinement.pose_delta, refined.pose_delta)
    exposure = torch.where(outlier[:, None], refinement.exposure, refined.exposure)
    return TrackRefinement(smooth_over_time(pose_delta), smooth_over_time(exposure), residual)


def pixel_probabilities(
    masks: UInt8[Tensor, "frames size size 2"], mouth_boxes: Float[Tensor, "frames 4"]
) -> Float[Tensor, "frames size size"]:
    """Returns the probability that a pixel is drawn; it sums to 1 - RIM_SHARE over the head and to RIM_SHARE over the rim.

    The mouth is left out of the head because it moves with the speech. The rim consists of the head's pixels near the border of the head,
    and of the background's pixels near the person. Pixels of the torso are not drawn. In a mask without a head all pixels are equal.

    Args:
        masks: coverage by head and torso, 0..255.
        mouth_boxes: (top, left, bottom, right), px.
    """
    size = masks.shape[1]
    head, background = masks[..., 0] > FULL_COVERAGE, (masks < NO_COVERAGE).all(-1)
    width = rim_width(size)
    rim = ((background & dilate(~background, width)) | (head & dilate(~head, width))).float()
    centers = torch.arange(size, device=masks.device) + 0.5
    top, left, bottom, right = (side[:, None, None] for side in mouth_boxes.unbind(-1))
    mouth = (centers[:, None] > top) & (centers[:, None] < bottom) & (centers > left) & (centers < right)
    return mix_densities((head & ~mouth).float(), rim, RIM_SHARE)


def rim_width(size: int) -> int:
    """Returns the half-width of the rim along an outline, px, in an image of `size` px."""
    return max(1, round(RIM_PX * size / RIM_REFERENCE_PX))


def mix_densities(
    inner: Float[Tensor, "frames size size"], rim: Float[Tensor, "frames size size"], rim_share: float
) -> Float[Tensor, "frames size size"]:
    """Returns the density that is even over each of two masks, with `rim_share` on the second; even over all pixels if both are empty."""
    inner_density, rim_density = (mask / mask.sum((1, 2), keepdim=True).clamp(min=1) for mask in (inner, rim))
    density = inner_density * (1 - rim_share) + rim_density * rim_share
    return torch.where(density.sum((1, 2), keepdim=True) > 0, density, 1 / inner.shape[1] ** 2)


def _gauss_newton_step(
    model: TalkingHead,
    alignment: AlignmentFrames,
    indices: Int[Tensor, " chunk"],
    poses: Float[Tensor, "chunk 4 4"],
    refinement: TrackRefinement,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "chunk 6"], Float[Tensor, "chunk 3"], Float[Tensor, " chunk"]]:
    """Returns the pose's step, the new exposure and the mean absolute residual of each of the frames `indices`."""
    linear = _linearize(model, alignment, indices, poses, refinement, generator)
    step = solve(linear.residual, linear.jacobian, refinement.pose_delta, PRIOR_STD)
    # A ratio of medians: means would take a hand or a highlight for a change of light.
    brightness = linear.color.median(1).values.clamp(min=MIN_BRIGHTNESS)
    exposure = refinement.exposure * (linear.target.median(1).values / brightness)
    return step, exposure.clamp(*EXPOSURE_RANGE), (linear.color - linear.target).abs().mean((1, 2))


def _linearize(
    model: TalkingHead,
    alignment: AlignmentFrames,
    indices: Int[Tensor, " chunk"],
    poses: Float[Tensor, "chunk 4 4"],
    refinement: TrackRefinement,
    generator: torch.Generator,
) -> _Linearization:
    """Renders RAYS pixels of each frame from its current pose, and from six poses of which each differs in one component, by FD_STEP."""
    size, fd_step = alignment.images.shape[1], torch.tensor(FD_STEP, device=poses.device)
    probabilities = pixel_probabilities(alignment.masks[indices], alignment.mouth_boxes[indices]).flatten(1)
    pixel_index = torch.multinomial(probabilities, RAYS, True, generator=generator)
    pixels = torch.stack([pixel_index // size, pixel_index % size], -1) + 0.5
    target = alignment.images[indices].flatten(1, 2).gather(1, pixel_index[..., None].expand(-1, -1, 3)) / 255
    offsets = torch.cat([fd_step.new_zeros(1, 6), torch.diag(fd_step)])
    candidates = apply_pose_delta(poses[:, None], refinement.pose_delta[:, None] + offsets)
    background = alignment.background.flatten(0, 1)[pixel_index]
    colors = _render_candidates(model, candidates, pixels, alignment.condition[indices], background)
    colors = colors * refinement.exposure[:, None, None]
    residual = (colors[:, 0] - target).flatten(1)
    jacobian = (colors[:, 1:] - colors[:, :1]).flatten(2) / fd_step[:, None]
    return _Linearization(colors[:, 0], target, residual, jacobian)


def solve(
    residual: Float[Tensor, "chunk residuals"],
    jacobian: Float[Tensor, "chunk n residuals"],
    delta: Float[Tensor, "chunk n"],
    prior_std: tuple[float, ...],
) -> Float[Tensor, "chunk n"]:
    """Solves the normal equations of the module's docstring for any number of components; returns the overrelaxed, clamped step.

    Args:
        residual: r, colours 0..1.
        jacobian: J.
        delta: the correction so far, d.
        prior_std: PRIOR_STD of each component.
    """
    huber = NOISE / residual.abs().clamp(min=NOISE)
    weighted = jacobian * huber[:, None] / NOISE**2
    prior = PRIOR_WEIGHT * residual.shape[1] / torch.tensor(prior_std, device=residual.device) ** 2
    matrix = weighted @ jacobian.transpose(1, 2) + torch.diag(prior)
    right_side = -(weighted @ residual[..., None])[..., 0] - prior * delta
    return (OVERRELAXATION * torch.linalg.solve(matrix, right_side)).clamp(-MAX_STEP, MAX_STEP)


def _render_candidates(
    model: TalkingHead,
    candidates: Float[Tensor, "chunk candidates 4 4"],
    pixels: Float[Tensor, "chunk rays 2"],
    condition: Float[Tensor, "chunk condition"],
    background: Float[Tensor, "chunk rays 3"],
) -> Float[Tensor, "chunk candidates rays 3"]:
    """Renders the same pixels of each frame from each of its candidate poses, over the background."""
    shape = (*candidates.shape[:2], pixels.shape[1])

    def expand_to_rays(values: Tensor) -> Tensor:
        """Repeats values of shape [chunk, 1 or candidates, 1 or rays, ...] for all rays, and flattens these axes."""
        return values.expand(*shape, *values.shape[3:]).flatten(0, 2)

    rays = cast_rays(model.geometry.camera, expand_to_rays(candidates[:, :, None]), expand_to_rays(pixels[:, None]))
    frame_index = torch.arange(len(candidates), device=pixels.device)
    head = model.render_head(rays, condition, expand_to_rays(frame_index[:, None, None]))
    return over(head, expand_to_rays(background[:, None])).unflatten(0, shape)
