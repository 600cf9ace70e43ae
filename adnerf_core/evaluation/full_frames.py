"""Held-out frames as a full video shows them: the footage's own frame, its lips covered by those that the sound tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from adnerf_core.evaluation import metrics
from adnerf_core.evaluation.heldout_renderer import HeldOutRenderer
from adnerf_core.evaluation.lpips import MIN_EDGE
from adnerf_core.evaluation.metrics import Picture
from adnerf_core.files import yuv
from adnerf_core.files.footage_reader import FootageReader
from adnerf_core.files.images import resize
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.playback import Playback
from adnerf_core.synthesis.subject import Subject

MAX_FRAMES = 100
"""Held-out frames that are compared, evenly spread: the means of more of them differ by less than .1 dB."""
RIM = (0.05, 0.95)
"""Shares of the rendered colour between which a pixel belongs to the soft edge of the rendered region."""


@torch.no_grad()
def full_frame_figures(
    renderer: HeldOutRenderer,
    frames: ndarray,
    codes: Float[Tensor, "frames code"],
    distance: Callable[[Picture, Picture], float] | None = None,
) -> dict[str, float]:
    """Compares full frames with the footage, in the square that the dataset shows and at its size.

    Args:
        renderer: of the held-out part.
        frames: numbers of the frames.
        codes: their speech codes.
        distance: perceptual distance of two pictures, if there is one.

    Returns:
        Means over the frames, rounded to four digits: full_psnr, full_ssim and full_lpips of the square; region_psnr and region_lpips of
        the rendered region by itself; seam, see `seam`. Those with LPIPS need a `distance`. Empty if the subject has no footage.
    """
    play = renderer.subject.playback
    if play is None:
        return {}
    full = FullFrameRenderer(held_out_subject(renderer))
    chosen = np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).astype(int))
    reader = FootageReader(play.path, play.width, play.height, renderer.dataset.frames)
    scores: list[dict[str, float]] = []
    pictures = reader.read(frames[chosen].tolist(), planar=True)
    for i, (frame, picture) in zip(chosen.tolist(), pictures, strict=True):
        mask = full.region.mask(full.subject.poses[frame])
        share = np.zeros((full.height, full.width), np.float32)
        share[mask.box] = mask.share
        size = renderer.dataset.size
        truth = resize(_square(play, _rgb(picture)), size)
        render = resize(_square(play, _rgb(full.render_into(picture, frame, codes[i]))), size)
        share = cv2.resize(_square(play, share), (size, size), interpolation=cv2.INTER_AREA)
        scores.append(compare(render, truth, share, distance))
    return {name: round(float(np.mean([each[name] for each in scores])), 4) for name in scores[0]}


def held_out_subject(renderer: HeldOutRenderer) -> Subject:
    """Returns the subject with the track of the whole footage; its own ends where the held-out part begins."""
    subject, track = renderer.subject, renderer.renderer
    count, device = len(track.poses), track.poses.device
    playback = replace(
        subject.playback,
        exposure=torch.ones((count, 3), device=device),
        trusted=torch.ones(count, dtype=torch.bool, device=device),
    )
    return replace(subject, poses=track.poses, torso=track.torso_motion, upper=track.upper_face, playback=playback)


def compare(
    render: Picture,
    truth: Picture,
    share: Float[ndarray, "rows cols"],
    distance: Callable[[Picture, Picture], float] | None,
) -> dict[str, float]:
    """Returns the scores of one full frame; `share` is that of the rendered colour in each pixel."""
    scores = {
        "full_psnr": metrics.psnr(render, truth),
        "full_ssim": metrics.ssim(render, truth),
        "region_psnr": metrics.psnr(render, truth, share),
        "seam": seam(render, truth, share),
    }
    if distance is not None:
        box = region_box(share)
        scores |= {"full_lpips": distance(render, truth), "region_lpips": distance(render[box], truth[box])}
    return scores


def region_box(share: Float[ndarray, "rows cols"]) -> tuple[slice, slice]:
    """Returns the rows and columns of the rendered region: MIN_EDGE or more of each, the least that LPIPS compares."""
    rows, cols = (_span(lines, size) for lines, size in zip(np.nonzero(share > 0.5), share.shape, strict=True))
    return rows, cols


def _span(lines: Int[ndarray, " n"], size: int) -> slice:
    """Returns the range of all lines, widened to MIN_EDGE within 0..size."""
    first, end = int(lines.min()), int(lines.max()) + 1
    missing = max(MIN_EDGE - (end - first), 0)
    first = max(min(first - missing // 2, size - (end - first) - missing), 0)
    return slice(first, max(end, first + MIN_EDGE))


def seam(render: Picture, truth: Picture, share: Float[ndarray, "rows cols"]) -> float:
    """Returns the mean gradient of the brightness in the soft edge of the rendered region, over that at the same place of the footage.

    1 is the footage's own; a visible seam adds gradient, blur takes it away.
    """
    rim = (share > RIM[0]) & (share < RIM[1])
    rendered, true = (float(_gradient(picture)[rim].mean()) for picture in (render, truth))
    return rendered / max(true, 1e-6)


def _gradient(picture: Picture) -> Float[ndarray, "rows cols"]:
    gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.hypot(*np.gradient(gray))


def _rgb(picture: yuv.Picture) -> Picture:
    """Returns a whole picture as RGB."""
    rows, width = picture.shape
    return np.rint(yuv.to_rgb(picture, (slice(0, rows * 2 // 3), slice(0, width)))).clip(0, 255).astype(np.uint8)


def _square(playback: Playback, picture: ndarray) -> ndarray:
    """Cuts out the square of the footage that the dataset shows."""
    x, y, side = (round(number) for number in playback.crop)
    return np.ascontiguousarray(picture[y : y + side, x : x + side])
