"""One frame of a video that is not rendered yet, so that somebody sees what the options make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from adnerf_core.config import RenderOptions
from adnerf_core.files import yuv
from adnerf_core.files.images import PREVIEW_QUALITY, encode_jpeg
from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import silent
from adnerf_core.synthesis.aspect import Reframing
from adnerf_core.synthesis.background import make_background
from adnerf_core.synthesis.full_frame import FullFrameRenderer
from adnerf_core.synthesis.render import (
    applied_view,
    face_place,
    frame_shown,
    portrait_size,
    render_frames,
    silent_codes,
)
from adnerf_core.synthesis.subject import Subject, load_subject
from adnerf_core.synthesis.visible_label import VisibleLabel

LONGEST_PX = 960
"""Longest edge of the picture: as large as a page shows it, and rendered within seconds."""
PORTRAIT_PX = 512
"""Longest edge of a portrait: all of its pixels are rendered, so a larger one takes longer than somebody waits who turns a slider."""
SQUARE_PX, SHADES = 12, (150, 190)
"""Edge and greys of the chequers that stand for transparency."""


def render_still(
    run: RunDir,
    options: RenderOptions,
    *,
    background: Path | None = None,
    device: str = "cpu",
    load: Callable[[RunDir, str], Subject] = load_subject,
    fonts: Path | None = None,
) -> bytes:
    """Renders the first frame of a video with these options, the mouth at rest.

    Args:
        run: finished run of the subject.
        options: as of the video; the picture has at most LONGEST_PX (a portrait PORTRAIT_PX), and chequers for what is transparent.
        background: image file, needed if options.background is of kind `image`.
        device: "cpu" or "cuda".
        load: loads the subject; a caller that renders repeatedly passes a function with a cache.
        fonts: folder with fonts for the label, besides those of the system.

    Returns:
        A JPEG, without a watermark.

    Raises:
        FullFrameUnavailable, NotMedia, NotReady, NoSuchDevice, MissingBackend: see render.
    """
    subject = load(run, device)
    code, kind = silent_codes(subject, 1.0)[:1], frame_shown(subject, options)
    if kind == "full":
        natural = max(subject.playback.width, subject.playback.height)
        renderer = FullFrameRenderer(subject, min(options.size or natural, natural, LONGEST_PX), options.seed)
        frame = renderer.render_first(code[0], options.pose)
        height, width = renderer.height, renderer.width
        frame = yuv.to_rgb(frame, (slice(0, height), slice(0, width))).round().clip(0, 255).astype(np.uint8)
    else:
        height = width = min(portrait_size(subject, options), PORTRAIT_PX)
        behind = make_background(subject, options.background, background, width, device)
        frame = next(render_frames(subject, code, behind, options, applied_view(subject, options.view), silent))
    if options.aspect != "source":
        face = face_place(subject, options, kind, height, width)
        frame = next(Reframing(options, height, width, face).apply([frame]))
    if options.label:
        frame = next(VisibleLabel(options.label, *frame.shape[:2], fonts).over([frame]))
    return encode_jpeg(_before_chequers(frame), PREVIEW_QUALITY)


def _before_chequers(frame: UInt8[np.ndarray, "rows cols channels"]) -> UInt8[np.ndarray, "rows cols 3"]:
    """Returns an RGB picture; what is transparent shows chequers."""
    if frame.shape[2] == 3:
        return frame
    rows, cols = np.indices(frame.shape[:2]) // SQUARE_PX
    chequers = np.where((rows + cols) % 2 == 0, *SHADES)[..., None].astype(np.float32)
    opacity = frame[..., 3:].astype(np.float32) / 255
    return (chequers + opacity * (frame[..., :3] - chequers)).round().astype(np.uint8)
