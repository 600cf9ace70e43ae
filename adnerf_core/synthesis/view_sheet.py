"""A sheet of pictures of a subject in turned views, from which a user chooses a view for a video."""

from __future__ import annotations

from typing import Any

import numpy as np

from adnerf_core.config import Background, RenderOptions, ViewChange
from adnerf_core.files.images import write_rgb
from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.background import make_background
from adnerf_core.synthesis.render import applied_view, render_frames
from adnerf_core.synthesis.speech_codes import silent_codes
from adnerf_core.synthesis.subject import load_subject

COLUMNS, ROWS = 7, 3
"""Number of yaw and of pitch angles; both odd, so that the unturned view is among them."""
TILE_PX = 128
"""Edge of one picture: large enough to judge a view, and quick to render."""


def render_view_sheet(run: RunDir, progress: Progress = silent, *, device: str = "cpu") -> dict[str, Any]:
    """Writes views.jpg into a finished run: pictures of the silent subject, by yaw from column to column, by pitch from row to row.

    As many rows follow below, with the opacity of the person in each picture, white on black, so that a page can put the person
    before another background.

    Args:
        run: The finished run.
        progress: Receives the stage "views".
        device: Device that renders.

    Returns:
        The layout: `columns`, `rows`, `yaw_deg` of each column (ascending), `pitch_deg` of each row (descending), both from limit
        to limit in degrees as in ViewChange, `tile_px`, and `masks` (true: the rows with the opacity are there).

    Raises:
        NotReady: If the run is unfinished.
        NoSuchDevice: If CUDA is asked for but missing.
        MissingBackend: If the subject's audio features need something that is not installed.
        DiskFull: If there is no space for the sheet.
    """
    subject = load_subject(run, device)
    limits = subject.view_limits
    yaws, pitches = symmetric_angles(limits.yaw_deg, COLUMNS), symmetric_angles(limits.pitch_deg, ROWS)[::-1]
    code = silent_codes(subject, 1.0)[:1]
    options = RenderOptions(pose="still", background=Background(kind="transparent"), format="webm")
    plate = make_background(subject, Background(), None, TILE_PX, device)
    nothing = make_background(subject, options.background, None, TILE_PX, device)
    colors = (plate.cpu().numpy() * 255).round()
    sheet, masks = [], []
    for row, pitch in enumerate(pitches):
        tiles = []
        for column, yaw in enumerate(yaws):
            progress("views", row * COLUMNS + column, ROWS * COLUMNS)
            view = applied_view(subject, ViewChange(yaw_deg=yaw, pitch_deg=pitch))
            tiles += render_frames(subject, code, nothing, options, view, silent)
        strip = np.hstack(tiles).astype(np.float32)
        opacity = strip[..., 3:] / 255
        behind = np.hstack([colors] * COLUMNS)
        sheet.append((behind + opacity * (strip[..., :3] - behind)).round().astype(np.uint8))
        masks.append(np.repeat(strip[..., 3:], 3, axis=2).astype(np.uint8))
    write_rgb(run.views, np.vstack(sheet + masks))
    progress("views", ROWS * COLUMNS, ROWS * COLUMNS)
    return {"columns": COLUMNS, "rows": ROWS, "yaw_deg": yaws, "pitch_deg": pitches, "tile_px": TILE_PX, "masks": True}


def symmetric_angles(limits: tuple[float, float], count: int) -> list[float]:
    """Returns `count` angles (an odd number) from limit to limit, evenly spaced on either side of 0, with 0 in the middle."""
    low, high = limits
    shares = np.linspace(-1, 1, count)
    return [round(float(share * (high if share > 0 else -low)), 1) for share in shares]
