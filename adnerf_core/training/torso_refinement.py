"""Photometric refinement of the torso's motion: Gauss-Newton on the difference between the rendered torso and the footage.

Features tracked on clothes are up to three pixels off, of 256: a jacket has few of them, and they slide over its folds. The shoulders' outline
shows the error as a line. The motion is therefore corrected as poses are (see pose_refinement.py), by what the torso's field shows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from adnerf_core.data.region_labels import FULL_COVERAGE, NO_COVERAGE
from adnerf_core.models.talking_head import TalkingHead
from adnerf_core.rendering.dilation import dilate
from adnerf_core.rendering.volume_rendering import over
from adnerf_core.training.parallel import map_in_threads
from adnerf_core.training.pose_refinement import AlignmentFrames, mix_densities, rim_width, solve
from adnerf_core.training.track_refinement import smooth_over_time

FD_STEP = 4e-3
"""Step of the finite differences in each component of the motion: half a pixel of 256."""
PRIOR_STD = (0.03, 0.03, 0.03, 0.03)
"""Standard deviation of the tracker's errors, in the units of the motion (half-widths of the picture, rad, log scale): corrections of the
reference clip are .013 in the mean. Where a torso shows nothing, it keeps the tracked motion."""
RIM_SHARE = 0.2
"""Share of the pixels that are drawn along the torso's outline: clothes may have no texture."""
PIXELS, ROUNDS, BATCH_FRAMES = 512, 3, 16
"""Pixels of a frame, Gauss-Newton steps on them, and frames that are rendered at once."""


def refine_torso(
    model: TalkingHead,
    alignment: AlignmentFrames,
    poses: Float[Tensor, "frames 4 4"],
    motion: Float[Tensor, "frames 4"],
    exposure: Float[Tensor, "frames 3"],
    generator: torch.Generator,
    tick: Callable[[], None] = lambda: None,
) -> Float[Tensor, "frames 4"]:
    """Estimates corrections of the torso's motion, smoothed over time.

    Args:
        model: the model whose torso is aligned.
        alignment: the footage.
        poses: of the head in `alignment.indices`.
        motion: as tracked, likewise.
        exposure: of the frames, likewise.
        generator: draws the pixels.
        tick: is called every two batches of frames, which are computed at the same time.
    """
    condition = model.standardized_pose(poses)

    @torch.no_grad()
    def estimate(batch: tuple[Int[Tensor, " chunk"], int]) -> Float[Tensor, "chunk 4"]:
        chunk, seed = batch
        indices, drawn = alignment.indices[chunk], torch.Generator(poses.device).manual_seed(seed)
        density = torso_pixel_probabilities(alignment.masks[indices]).flatten(1)
        pixel_index = torch.multinomial(density, PIXELS, True, generator=drawn)
        size = alignment.images.shape[1]
        pixels = torch.stack([pixel_index // size, pixel_index % size], -1) + 0.5
        target = alignment.images[indices].flatten(1, 2).gather(1, pixel_index[..., None].expand(-1, -1, 3))
        target = target / (255 * exposure[chunk, None])
        behind = alignment.background.flatten(0, 1)[pixel_index]
        offsets = FD_STEP * torch.cat([motion.new_zeros(1, 4), torch.eye(4, device=motion.device)])
        delta = torch.zeros_like(motion[chunk])
        for _ in range(ROUNDS):
            candidates = (motion[chunk] + delta)[:, None] + offsets
            colors = _render_candidates(model, candidates, pixels, condition[chunk], behind)
            residual = (colors[:, 0] - target).flatten(1)
            jacobian = (colors[:, 1:] - colors[:, :1]).flatten(2) / FD_STEP
            delta = delta + solve(residual, jacobian, delta, PRIOR_STD)
        return delta

    chunks = torch.arange(len(poses), device=poses.device).split(BATCH_FRAMES)
    work = list(zip(chunks, torch.randint(2**62, (len(chunks),), generator=generator).tolist(), strict=True))
    deltas = []
    for first in range(0, len(work), 2):
        tick()
        deltas += map_in_threads(estimate, work[first : first + 2])
    return smooth_over_time(torch.cat(deltas))


def torso_pixel_probabilities(masks: UInt8[Tensor, "frames size size 2"]) -> Float[Tensor, "frames size size"]:
    """Returns the probability that a pixel is drawn; it sums to 1 - RIM_SHARE over the torso and to RIM_SHARE over its outline.

    Pixels at the head are not drawn: there the torso follows it. In a mask without a torso all pixels are equal.

    Args:
        masks: coverage by head and torso, 0..255.
    """
    width = rim_width(masks.shape[1])
    away = ~dilate(masks[..., 0] > NO_COVERAGE, width)
    torso, background = masks[..., 1] > FULL_COVERAGE, (masks < NO_COVERAGE).all(-1)
    rim = away & dilate(torso, width) & dilate(background, width)
    return mix_densities((torso & away).float(), rim.float(), RIM_SHARE)


def _render_candidates(
    model: TalkingHead,
    candidates: Float[Tensor, "chunk candidates 4"],
    pixels: Float[Tensor, "chunk pixels 2"],
    condition: Float[Tensor, "chunk 6"],
    behind: Float[Tensor, "chunk pixels 3"],
) -> Float[Tensor, "chunk candidates pixels 3"]:
    """Renders the same pixels of each frame with each of its candidate motions."""
    shape = (*candidates.shape[:2], pixels.shape[1])

    def expand(values: Tensor) -> Tensor:
        return values.expand(*shape, values.shape[-1]).flatten(0, 2)

    torso = model.render_torso(
        expand(pixels[:, None]), expand(candidates[:, :, None]), expand(condition[:, None, None])
    )
    return over(torso, expand(behind[:, None])).unflatten(0, shape)
