"""Small things to look at before a video is played: a picture of it, and a short silent clip."""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from adnerf_core.errors import NotMedia
from adnerf_core.files.ffmpeg_process import THREADS, file_url, running, untrusted_input
from adnerf_core.files.media_info import probe
from adnerf_core.files.media_reader import SCALING
from adnerf_core.files.run_dir import atomic

THUMBNAIL_PX, CLIP_PX = 480, 320
"""Longest edges of a thumbnail and of a clip: of a tile in a list on a screen with fine pixels."""
CLIP_S, CLIP_FPS = 3.0, 12.5
"""Length of a clip, s, and its frames per second: half of a video's."""
QUALITY = 4
"""Of the JPEG, on ffmpeg's scale from 2 (best) to 31."""


def write_thumbnail(video: Path, out: Path) -> None:
    """Writes a JPEG of the frame at a third of a video. Raises NotMedia, DiskFull and so on as ffmpeg.probe does."""
    info = probe(video)
    picture = untrusted_input(video, ss=info.duration_s / 3)["v:0"].filter("scale", *_fit(THUMBNAIL_PX), flags=SCALING)
    options = {"frames:v": 1, "format": "image2", "update": 1, "c:v": "mjpeg", "q:v": QUALITY, "pix_fmt": "yuvj420p"}
    _write(picture, out, options)


def write_clip(video: Path, out: Path) -> None:
    """Writes the first seconds of a video as a small MP4 without sound. Raises as write_thumbnail does."""
    picture = untrusted_input(video)["v:0"].filter("fps", CLIP_FPS).filter("scale", *_fit(CLIP_PX), flags=SCALING)
    options = {
        "t": CLIP_S,
        "format": "mp4",
        "c:v": "libx264",
        "crf": 28,
        "pix_fmt": "yuv420p",
        "movflags": "+faststart",
    }
    _write(picture, out, options | {"threads": THREADS, "map_metadata": -1})


def _fit(edge: int) -> tuple[str, str]:
    """Width and height of a picture whose longest edge is at most `edge`; both are even."""
    scale = f"min(1,{edge}/max(iw,ih))"
    return f"max(2,trunc(iw*{scale}/2+0.5)*2)", f"max(2,trunc(ih*{scale}/2+0.5)*2)"


def _write(picture: ffmpeg.nodes.FilterableStream, out: Path, options: dict[str, object]) -> None:
    with atomic(out) as temporary, running(ffmpeg.output(picture, file_url(temporary), **options)) as child:
        if child.wait() != 0:
            raise child.error() or NotMedia("The file has no pictures that can be shown.")
