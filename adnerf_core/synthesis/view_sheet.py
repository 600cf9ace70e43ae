"""A sheet of views: what a subject looks like turned, so that a view can be chosen before a video is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from adnerf_core.audio.features import load_features
from adnerf_core.audio.inference import encode_stream
from adnerf_core.cameras.view_control import view_limits
from adnerf_core.config import SAMPLE_RATE, RenderOptions, ViewChange
from adnerf_core.files.images import write_rgb
from adnerf_core.files.run_dir import RunDir
from adnerf_core.progress import Progress, silent
from adnerf_core.synthesis.background import make_background
from adnerf_core.synthesis.render import render_frames
from adnerf_core.synthesis.subject import load_subject

COLUMNS, ROWS, TILE = 7, 3, 128
"""Steps of yaw, of pitch (both odd: the unturned view is among them), and the edge of one picture, px."""


def render_view_sheet(run: RunDir, progress: Progress = silent, *, device: str = "cpu") -> dict[str, Any]:
    """Writes views.jpg into a finished run: the silent subject, turned to its left to the right, nodding up at the top.

    Returns the layout: `columns`, `rows`, `yaw_deg` of each column, `pitch_deg` of each row (degrees, as in ViewChange,
    from limit to limit), `tile_px`. Stage of progress: "views". Raises NotReady, NoSuchDevice, MissingBackend, DiskFull.
    """
    subject = load_subject(run, device)
    limits = view_limits(subject.poses)
    yaws, pitches = symmetric_angles(limits.yaw_deg, COLUMNS), symmetric_angles(limits.pitch_deg, ROWS)[::-1]
    pause = np.zeros(SAMPLE_RATE, np.float32)
    code = encode_stream(subject.portrait, load_features(subject.features), iter([pause]), subject.poses.device)[10:11]
    plain = RenderOptions(pose="still")
    plate = make_background(subject, plain.background, None, TILE, device)
    sheet = []
    for row, pitch in enumerate(pitches):
        line = []
        for column, yaw in enumerate(yaws):
            progress("views", row * COLUMNS + column, ROWS * COLUMNS)
            turned = plain.model_copy(update={"view": ViewChange(yaw_deg=yaw, pitch_deg=pitch)})
            line += render_frames(subject, code, plate, turned, silent)
        sheet.append(np.hstack(line))
    write_rgb(run.views, np.vstack(sheet))
    progress("views", ROWS * COLUMNS, ROWS * COLUMNS)
    return {"columns": COLUMNS, "rows": ROWS, "yaw_deg": yaws, "pitch_deg": pitches, "tile_px": TILE}


def symmetric_angles(limits: tuple[float, float], count: int) -> list[float]:
    """An odd `count` of angles from limit to limit, evenly spaced on either side of 0, which is the one in the middle."""
    low, high = limits
    shares = np.linspace(-1, 1, count)
    return [round(float(share * (high if share > 0 else -low)), 1) for share in shares]
